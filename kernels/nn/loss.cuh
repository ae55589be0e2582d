#pragma once
#include "common.cuh"
// Softmax cross entropy of one row by one warp: every lane of it must call, and gets the result.

template <typename T> struct Logits {
    const T *z, *b;  // of this row; b may be null
    int columns;
    __device__ T operator[](int c) const { return b ? z[c] + b[c] : z[c]; }
};

template <typename T> struct Row {
    T top;       // the largest logit, or a nan
    T total;     // sum of exp(logit - top)
    T loss;
    bool valid;  // the label is in range
};

template <typename T> __device__ __forceinline__ T warp_sum(T value) {
    for (int lanes = 16; lanes; lanes /= 2) value += __shfl_xor_sync(0xffffffff, value, lanes);
    return value;
}

template <typename T> __device__ __forceinline__ T warp_maximum(T value) {
    for (int lanes = 16; lanes; lanes /= 2)
        value = maximum(value, __shfl_xor_sync(0xffffffff, value, lanes));
    return value;
}

template <typename T>
__device__ __forceinline__ Row<T> row_loss(const Logits<T> &logits, long long label, T smoothing) {
    const int lane = threadIdx.x, columns = logits.columns;
    Row<T> row;
    row.top = logits[min(lane, columns - 1)];
    for (int c = lane + 32; c < columns; c += 32) row.top = maximum(row.top, logits[c]);
    row.top = warp_maximum(row.top);
    T total = T(0), below = T(0);
#pragma unroll 1  // four exp at once are more than the registers hold in double
    for (int c = lane; c < columns; c += 32) {
        total += exp(logits[c] - row.top);
        below += logits[c] - row.top;
    }
    row.total = warp_sum(total);
    below = warp_sum(below);
    row.valid = 0 <= label && label < columns;
    row.loss = T(0) / T(0);
    if (row.valid) {
        row.loss = log(row.total) - (T(1) - smoothing) * (logits[label] - row.top);
        // Not without smoothing: 0 times a logit of -inf is nan.
        if (smoothing > T(0)) row.loss -= smoothing / T(columns) * below;
    }
    return row;
}

// The gradient of one row's loss by logit c, from what `row_loss` found.
template <typename T>
__device__ __forceinline__ T row_gradient(const Logits<T> &logits, const Row<T> &found, int c,
                                          long long label, T smoothing) {
    const T hit = T(c == label);
    const T dz = exp(logits[c] - found.top) / found.total - hit;
    return dz + smoothing * (hit - T(1) / T(logits.columns));  // exactly 0 of a single class
}
