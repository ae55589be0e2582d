#pragma once
#include "common.cuh"
// The activations, each its value and its gradient from the output y or, where that does not tell
// enough, from the input x. A nan stays a nan. docs/backward.md derives them.

template <typename T> __device__ __forceinline__ T relu(T x) { return maximum(x, T(0)); }

template <typename T> __device__ __forceinline__ T relu_backward(T g, T y) {
    return y > T(0) ? g : T(0);
}

template <typename T> __device__ __forceinline__ T leaky_relu(T x, T slope) {
    return x > T(0) ? x : slope * x;
}

template <typename T> __device__ __forceinline__ T leaky_relu_backward(T g, T y, T slope) {
    return y > T(0) ? g : slope * g;
}

template <typename T> __device__ __forceinline__ T elu(T x, T alpha) {
    return x > T(0) ? x : alpha * expm1(x);
}

template <typename T> __device__ __forceinline__ T elu_backward(T g, T y, T alpha) {
    return y > T(0) ? g : g * (y + alpha);
}

template <typename T> __device__ __forceinline__ T softplus(T x) {
    return maximum(x, T(0)) + log1p(exp(-fabs(x)));  // cannot overflow
}

template <typename T> __device__ __forceinline__ T softplus_backward(T g, T y) {
    return -g * expm1(-y);
}

template <typename T> __device__ __forceinline__ T sigmoid(T x) {
    const T z = exp(-fabs(x));  // cannot overflow
    return (x >= T(0) ? T(1) : z) / (T(1) + z);
}

template <typename T> __device__ __forceinline__ T sigmoid_backward(T g, T y) {
    return g * y * (T(1) - y);
}

template <typename T> __device__ __forceinline__ T tanh_backward(T g, T y) {
    return g * (T(1) - y * y);
}

// SiLU and GELU are x times a gate, which goes from 0 to 1 and is there where |x| is BOUND: in its
// place an infinite x would meet a 0, and their product is nan.
// (erfc in double is not inlined: it would take more registers than a fused kernel has.)
#define BOUND T(1e4)

template <typename T> __device__ __forceinline__ T bounded(T x) {
    return minimum(maximum(x, -BOUND), BOUND);
}

template <typename T> struct Gate {
    T value, slope;
};

// The sigmoid s and its slope s (1 - s), in a form that does not cancel.
template <typename T> __device__ __forceinline__ Gate<T> logistic(T x) {
    const T z = exp(-fabs(x)), half = T(1) / (T(1) + z);
    return Gate<T>{x >= T(0) ? half : z * half, z * half * half};
}

template <typename T> __device__ __forceinline__ T silu(T x) {
    return maximum(x, -BOUND) * sigmoid(x);
}

template <typename T> __device__ __forceinline__ T silu_backward(T g, T x) {
    const Gate<T> gate = logistic(x);
    return g * (gate.value + bounded(x) * gate.slope);
}

template <typename T> __device__ __noinline__ T normal_cdf(T x) {
    return T(0.5) * erfc(T(-0.70710678118654752440) * x);
}

template <typename T> __device__ __forceinline__ T gelu(T x) {
    return maximum(x, -BOUND) * normal_cdf(x);
}

template <typename T> __device__ __forceinline__ T gelu_backward(T g, T x) {
    const T near = bounded(x);
    const T density = T(0.39894228040143267794) * exp(T(-0.5) * near * near);
    return g * (normal_cdf(x) + near * density);
}

// The gate's argument here, 2 sqrt(2 / pi) (x + 0.044715 x^3): its sigmoid is like GELU's gate.
template <typename T> __device__ __forceinline__ T gelu_tanh_inner(T x) {
    return T(1.59576912160573071176) * x * (T(1) + T(0.044715) * x * x);
}

template <typename T> __device__ __forceinline__ T gelu_tanh(T x) {
    return maximum(x, -BOUND) * sigmoid(gelu_tanh_inner(bounded(x)));
}

template <typename T> __device__ __forceinline__ T gelu_tanh_backward(T g, T x) {
    const T near = bounded(x);
    const Gate<T> gate = logistic(gelu_tanh_inner(near));
    const T slope = T(1.59576912160573071176) * (T(1) + T(0.134145) * near * near);
    return g * (gate.value + near * slope * gate.slope);
}

#undef BOUND

// All of them, numbered from 1 as in gpunet/activations.py: what the gradient is made from, the
// value and the gradient. OUTPUT_0: from the output, and 0 where that is 0.
#define ACTIVATIONS(ROW)                                                       \
    ROW(RELU, OUTPUT_0, relu(x), relu_backward(g, y))                          \
    ROW(SIGMOID, OUTPUT_0, sigmoid(x), sigmoid_backward(g, y))                 \
    ROW(TANH, OUTPUT, tanh(x), tanh_backward(g, y))                            \
    ROW(LEAKY_RELU, OUTPUT, leaky_relu(x, alpha), leaky_relu_backward(g, y, alpha)) \
    ROW(ELU, OUTPUT, elu(x, alpha), elu_backward(g, y, alpha))                 \
    ROW(SOFTPLUS, OUTPUT_0, softplus(x), softplus_backward(g, y))              \
    ROW(SILU, INPUT, silu(x), silu_backward(g, x))                             \
    ROW(GELU, INPUT, gelu(x), gelu_backward(g, x))                             \
    ROW(GELU_TANH, INPUT, gelu_tanh(x), gelu_tanh_backward(g, x))

enum Source { OUTPUT, OUTPUT_0, INPUT };
#define NUMBER(name, source, value, gradient) name,
enum Activation { NONE, ACTIVATIONS(NUMBER) };
#undef NUMBER

// A launch has one, so that all threads take the same branch. alpha: the setting of those that have
// one.
#define SOURCE(name, source, value, gradient) case name: return source;
#define VALUE(name, source, value, gradient) case name: return value;
#define GRADIENT(name, source, value, gradient) case name: return gradient;
__device__ __forceinline__ Source source_of(int act) {
    switch (act) { ACTIVATIONS(SOURCE) }
    return OUTPUT;
}

template <typename T> __device__ __forceinline__ T activate(T x, int act, T alpha) {
    switch (act) { ACTIVATIONS(VALUE) }
    return x;
}

// seen: the input x or the output y, as the source says.
template <typename T> __device__ __forceinline__ T activate_backward(T g, T seen, int act, T alpha) {
    const T x = seen, y = seen;
    switch (act) { ACTIVATIONS(GRADIENT) }
    return g;
}
#undef SOURCE
#undef VALUE
#undef GRADIENT
