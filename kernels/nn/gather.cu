// The rows of the next batch, from the data in the order of this epoch, as T. It is the first kernel
// of a step, so it also makes the clock's `next` its `now`, which no thread here reads.
// in:  raw S data, raw int64 order, int64 width, T scale
// out: T y, raw int64 clock
y = T(data[order[clock[6] + i / width] * width + i % width]) * scale;
for (int k = 0; i == 0 && k < 4; ++k) clock[k] = clock[4 + k];
