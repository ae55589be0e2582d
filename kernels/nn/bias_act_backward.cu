// Back through y = dropout(act(z + b)), from y: g, the gradient of y, becomes that of z; and the sum
// of each chunk of its rows goes to db[chunk, column], which with one chunk is db.
#include "counters.cuh"
#include "nn/backward.cuh"
#include "nn/columns.cuh"
// threads: 32, 32
// in:  T* y, int64* counters
// numbers: int64 rows, int64 columns, int32 act, uint32 threshold, T scale, uint64 seed,
//      uint64 step, int32 add
// out: T* g, T* db
const long long column = 32LL * blockIdx.x + threadIdx.x;
const Rows own = rows_of_chunk(blockIdx.y, rows);
const Dropout drop = shown_by_output(Dropout{threshold, seed, step + counters[CALL]}, act);
T sum = T(0);
for (long long tile = own.first; tile < own.last; tile += MASK_ROWS) {
    const long long end = min(tile + MASK_ROWS, own.last);
    const Mask mask = draw_mask(drop, tile, end, columns);
    if (column >= columns) continue;
    for (long long row = tile + threadIdx.y; row < end; row += 32) {
        const long long i = row * columns + column;
        const T dz = output_backward(g[i], y[i], mask.keeps(row, column), scale, act);
        g[i] = dz;
        sum += dz;
    }
}
sum = sum_down(sum);
if (db && column < columns && threadIdx.y == 0) {
    const long long i = blockIdx.y * columns + column;
    db[i] = add ? db[i] + sum : sum;
}
