#pragma once
// Softmax cross entropy of one row by one warp: every lane of it must call, and gets the result.

template <typename T> struct Logits {
    const T *z, *b;  // of this row; b may be null
    int columns;
    __device__ T operator[](int c) const { return b ? z[c] + b[c] : z[c]; }
};

template <typename T> struct Row {
    int best;    // the first column of the largest logit, or of the first nan, as numpy.argmax
    T top;       // that logit
    T total;     // sum of exp(logit - top)
    T loss;
    bool valid;  // the label is in range
};

template <typename T> __device__ __forceinline__ T warp_sum(T value) {
    for (int lanes = 16; lanes; lanes /= 2) value += __shfl_xor_sync(0xffffffff, value, lanes);
    return value;
}

// Whether logit a in column i comes before logit b in column j: larger, or nan, or the first of two.
template <typename T>
__device__ __forceinline__ bool beats(T a, int i, T b, int j) {
    const bool a_nan = a != a, b_nan = b != b;
    if (a_nan || b_nan) return a_nan && (!b_nan || i < j);
    return a > b || (a == b && i < j);
}

template <typename T>
__device__ __forceinline__ Row<T> row_loss(const Logits<T> &logits, long long label, T smoothing) {
    const int lane = threadIdx.x, columns = logits.columns;
    Row<T> row;
    row.best = min(lane, columns - 1);
    row.top = logits[row.best];
    for (int c = lane + 32; c < columns; c += 32) {
        const T x = logits[c];
        if (beats(x, c, row.top, row.best)) row.top = x, row.best = c;
    }
    for (int lanes = 16; lanes; lanes /= 2) {
        const T x = __shfl_xor_sync(0xffffffff, row.top, lanes);
        const int c = __shfl_xor_sync(0xffffffff, row.best, lanes);
        if (beats(x, c, row.top, row.best)) row.top = x, row.best = c;
    }
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
