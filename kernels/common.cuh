#pragma once
// Device functions that several kernels share. T is float or double: no literal without T(...),
// so that a float kernel holds no double operation.

// -1, 0 or 1; of a nan, nan, as numpy.sign.
template <typename T> __device__ __forceinline__ T sign_of(T x) {
    return x != x ? x : T((x > T(0)) - (x < T(0)));
}

// A nan in either argument comes out, as from numpy.maximum.
template <typename T> __device__ __forceinline__ T maximum(T a, T b) {
    return (a > b || a != a) ? a : b;
}

template <typename T> __device__ __forceinline__ T minimum(T a, T b) {
    return (a < b || a != a) ? a : b;
}
