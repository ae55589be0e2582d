#pragma once
#include "common.cuh"
// Softmax cross entropy of a row by 8, 16 or all 32 lanes of a warp, as many as it has classes: a warp
// takes 4, 2 or 1 rows at once. Every lane must call, and gets its row's result.

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

// How many lanes take a row, and this thread's place among them and row among the warp's.
struct Lanes {
    int count, lane, row;
};

__device__ __forceinline__ Lanes lanes_for(long long columns) {
    const int bits = columns <= 8 ? 3 : columns <= 16 ? 4 : 5, lane = threadIdx.x % 32;
    return Lanes{1 << bits, lane & ((1 << bits) - 1), lane >> bits};
}

// `join` of the values of lanes that lie `from`, 2 from, 4 from, ... below `to` apart.
template <typename T, typename F>
__device__ __forceinline__ T joined(T value, int from, int to, F join) {
#pragma unroll
    for (int step = 16; step; step /= 2) {
        const T other = __shfl_xor_sync(0xffffffff, value, step);
        if (from <= step && step < to) value = join(value, other);
    }
    return value;
}

template <typename T> __device__ __forceinline__ T warp_sum(T value, int from = 1, int to = 32) {
    return joined(value, from, to, [](T a, T b) { return a + b; });
}

template <typename T>
__device__ __forceinline__ Row<T> row_loss(const Logits<T> &logits, long long label, T smoothing,
                                           int lanes = 32) {
    const int lane = threadIdx.x & (lanes - 1), columns = logits.columns;
    Row<T> row;
    row.top = logits[min(lane, columns - 1)];
    for (int c = lane + lanes; c < columns; c += lanes) row.top = maximum(row.top, logits[c]);
    row.top = joined(row.top, 1, lanes, [](T a, T b) { return maximum(a, b); });
    T total = T(0), below = T(0);
#pragma unroll 1  // four exp at once are more than the registers hold in double
    for (int c = lane; c < columns; c += lanes) {
        total += exp(logits[c] - row.top);
        below += logits[c] - row.top;
    }
    row.total = warp_sum(total, 1, lanes);
    below = warp_sum(below, 1, lanes);
    row.valid = 0 <= label && label < columns;
    row.loss = T(0) / T(0);
    if (row.valid) {
        row.loss = log(row.total) - (T(1) - smoothing) * (logits[label] - row.top);
        // Not without smoothing: 0 times a logit of -inf is nan.
        if (smoothing > T(0)) row.loss -= smoothing / T(columns) * below;
    }
    return row;
}

// The first logit that is the largest, as NumPy's argmax finds it: the first nan, if there is one.
template <typename T>
__device__ __forceinline__ int first_largest(const Logits<T> &logits, T top, int lanes = 32) {
    int first = logits.columns;
    for (int c = threadIdx.x & (lanes - 1); c < logits.columns; c += lanes)
        if (c < first && (logits[c] == top || logits[c] != logits[c])) first = c;
    return joined(first, 1, lanes, [](int a, int b) { return a < b ? a : b; });
}

// The gradient of one row's loss by logit c, from what `row_loss` found.
template <typename T>
__device__ __forceinline__ T row_gradient(const Logits<T> &logits, const Row<T> &found, int c,
                                          long long label, T smoothing) {
    const T hit = T(c == label);
    const T dz = exp(logits[c] - found.top) / found.total - hit;
    return dz + smoothing * (hit - T(1) / T(logits.columns));  // exactly 0 of a single class
}
