// Back through y = dropout(act(z + b)), from `seen`, which is z where the activation's gradient is
// made from its input, else y: g, the gradient of y, becomes that of z; and the sum of each chunk of
// its rows, with dropout 1024 at most, goes to db[chunk, column], which with one chunk is db.
#include "counters.cuh"
#include "nn/backward.cuh"
#include "nn/columns.cuh"
#include "nn/models.cuh"
// threads: 8, 128
// in:  T* seen, T* b, int64* counters, uint64* drops
// numbers: int64 rows, int64 columns, int64 b_apart, int64 db_apart, int32 act, T alpha,
//      uint32 threshold, T scale, uint64 seed, uint64 step, int32 add
// out: T* g, T* db
constexpr int WIDTH = 8, DEPTH = 128;
const long long column = WIDTH * blockIdx.x + threadIdx.x;
const long long place = blockIdx.z * rows * columns + column;  // of this model, in row 0
const Rows own = rows_of_chunk(blockIdx.y, rows);
const Source source = source_of(act);
const Dropout drop = dropout_of(blockIdx.z, drops, threshold, seed, step + counters[CALL]);
const T kept_scale = scale_of(blockIdx.z, drops, scale);
const T bias = b && column < columns ? b[blockIdx.z * b_apart + column] : T(0);
const Mask<WIDTH> mask = draw_mask<WIDTH>(shown_by_output(drop, source), own.first, own.last, columns);
T sum = T(0);
const auto back = [&](int act, Source source) {
    for (long long row = own.first + threadIdx.y; column < columns && row < own.last; row += DEPTH) {
        const long long i = row * columns + place;
        const T from = source == INPUT ? seen[i] + bias : seen[i];
        const bool kept = mask.keeps(row, column);
        const T dz = block_backward(g[i], from, kept, kept_scale, source, act, alpha);
        g[i] = dz;
        sum += dz;
    }
};
act == RELU ? back(RELU, OUTPUT_0) : back(act, source);  // a short loop is unrolled
sum = sum_down<WIDTH>(sum);
if (db && column < columns && threadIdx.y == 0) {
    const long long i = blockIdx.z * db_apart + blockIdx.y * columns + column;
    db[i] = add ? db[i] + sum : sum;
}
