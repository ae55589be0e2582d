// The rows of the next batch, from the data in the order of this epoch, as T. It is the first kernel
// of a step, so it also makes the counters' `next` their `now`, which no thread here reads. Of several
// models each has `rows` of them, and an order that begins `turn` behind that of the one before.
#include "counters.cuh"
#include "nn/rows.cuh"
// in:  raw S data, raw int64 order
// numbers: int64 width, int64 threads, int64 rows, int64 turn, T scale
// out: raw T y, raw int64 counters
constexpr int N = NEIGHBOURS<T, S>;
const bool wide = threads < width;
const long long place = i / threads, column = (i - place * threads) * (wide ? N : 1);
const long long model = turn ? (unsigned int)place / (unsigned int)rows : 0;
const long long row = order[model * turn + counters[NEXT + ROW] + place - model * rows];
const S &from = data[row * width + column];
wide ? move<N>(from, y[i * N], scale) : move<1>(from, y[i], scale);
for (int k = 0; i == 0 && k < NEXT; ++k) counters[k] = counters[NEXT + k];
