// Back through y = dropout(act(z + b)), from `seen`, which is z where the activation's gradient is
// made from its input, else y: g, the gradient of y, becomes that of z; and the sum of each chunk of
// its rows goes to db[chunk, column], which with one chunk is db.
#include "counters.cuh"
#include "nn/backward.cuh"
#include "nn/columns.cuh"
// threads: 8, 128
// in:  T* seen, T* b, int64* counters
// numbers: int64 rows, int64 columns, int32 act, T alpha, uint32 threshold, T scale,
//      uint64 seed, uint64 step, int32 add
// out: T* g, T* db
constexpr int WIDTH = 8, DEPTH = 128;
const long long column = WIDTH * blockIdx.x + threadIdx.x;
const Rows own = rows_of_chunk(blockIdx.y, rows);
const Source source = source_of(act);
const Dropout drop = shown_by_output(Dropout{threshold, seed, step + counters[CALL]}, source);
const T bias = b && column < columns ? b[column] : T(0);
T sum = T(0);
for (long long tile = own.first; tile < own.last; tile += Mask<WIDTH>::ROWS) {
    const long long end = min(tile + Mask<WIDTH>::ROWS, own.last);
    const Mask<WIDTH> mask = draw_mask<WIDTH>(drop, tile, end, columns);
    if (column >= columns) continue;
    const auto back = [&](int act, Source source) {
        for (long long row = tile + threadIdx.y; row < end; row += DEPTH) {
            const long long i = row * columns + column;
            const T from = source == INPUT ? seen[i] + bias : seen[i];
            const bool kept = mask.keeps(row, column);
            const T dz = block_backward(g[i], from, kept, scale, source, act, alpha);
            g[i] = dz;
            sum += dz;
        }
    };
    act == RELU ? back(RELU, OUTPUT_0) : back(act, source);  // a short loop is unrolled
}
sum = sum_down<WIDTH>(sum);
if (db && column < columns && threadIdx.y == 0) {
    const long long i = blockIdx.y * columns + column;
    db[i] = add ? db[i] + sum : sum;
}
