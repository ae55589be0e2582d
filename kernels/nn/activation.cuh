#pragma once
#include "common.cuh"
// The activations, and their gradients from the output a. A nan stays a nan.

template <typename T> __device__ __forceinline__ T relu(T x) { return maximum(x, T(0)); }

template <typename T> __device__ __forceinline__ T relu_backward(T ga, T a) {
    return a > T(0) ? ga : T(0);
}

template <typename T> __device__ __forceinline__ T sigmoid(T x) {
    const T z = exp(-fabs(x));  // cannot overflow
    return (x >= T(0) ? T(1) : z) / (T(1) + z);
}

template <typename T> __device__ __forceinline__ T sigmoid_backward(T ga, T a) {
    return ga * a * (T(1) - a);
}

template <typename T> __device__ __forceinline__ T tanh_backward(T ga, T a) {
    return ga * (T(1) - a * a);
}

// By number, as gpunet/fused/after.py numbers them. A launch has one, so that all threads take the
// same branch.
enum Activation { NONE = 0, RELU = 1, SIGMOID = 2, TANH = 3 };

template <typename T> __device__ __forceinline__ T activate(T x, int act) {
    if (act == RELU) return relu(x);
    if (act == SIGMOID) return sigmoid(x);
    return act == TANH ? tanh(x) : x;
}

template <typename T> __device__ __forceinline__ T activate_backward(T ga, T a, int act) {
    if (act == RELU) return relu_backward(ga, a);
    if (act == SIGMOID) return sigmoid_backward(ga, a);
    return act == TANH ? tanh_backward(ga, a) : ga;
}
