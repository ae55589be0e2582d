// The rows of the next batch, from the data in the order of this epoch, as T. It is the first kernel
// of a step, so it also makes the counters' `next` their `now`, which no thread here reads.
#include "counters.cuh"
// in:  raw S data, raw int64 order
// numbers: int64 width, T scale
// out: T y, raw int64 counters
y = T(data[order[counters[NEXT + ROW] + i / width] * width + i % width]) * scale;
for (int k = 0; i == 0 && k < NEXT; ++k) counters[k] = counters[NEXT + k];
