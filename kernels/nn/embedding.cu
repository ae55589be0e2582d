// The rows of W that the indices name; nan for one that is out of range.
#include "nn/rows.cuh"
// in:  raw int64 index, raw T W
// numbers: int64 categories, int64 width, int64 threads
// out: raw T y
constexpr int N = NEIGHBOURS<T, T>;
const bool wide = threads < width;
const long long place = i / threads, column = (i - place * threads) * (wide ? N : 1);
const long long row = index[place];
const bool there = 0 <= row && row < categories;
const T &from = W[there ? row * width + column : 0], scale = there ? T(1) : T(0) / T(0);
wide ? move<N>(from, y[i * N], scale) : move<1>(from, y[i], scale);
