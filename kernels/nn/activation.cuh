#pragma once
#include "common.cuh"
// The activations by number, as gpunet/fused/kernels.py numbers them. A launch has one, so that all
// threads take the same branch.
enum Activation { NONE = 0, RELU = 1, SIGMOID = 2, TANH = 3 };

template <typename T> __device__ __forceinline__ T activate(T x, int act) {
    if (act == RELU) return maximum(x, T(0));
    if (act == SIGMOID) {
        const T z = exp(-fabs(x));  // cannot overflow
        return (x >= T(0) ? T(1) : z) / (T(1) + z);
    }
    return act == TANH ? tanh(x) : x;
}

// The gradient of x, from that of a = activate(x).
template <typename T> __device__ __forceinline__ T activate_backward(T ga, T a, int act) {
    if (act == RELU) return a > T(0) ? ga : T(0);
    if (act == SIGMOID) return ga * a * (T(1) - a);
    return act == TANH ? ga * (T(1) - a * a) : ga;
}
