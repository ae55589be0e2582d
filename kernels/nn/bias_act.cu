// y = dropout(act(z + b)) of the product z of a layer, which y may be.
#include "counters.cuh"
#include "nn/activation.cuh"
#include "nn/columns.cuh"
#include "nn/models.cuh"
// threads: 32, 8
// in:  T* z, T* b, int64* counters, uint64* drops
// numbers: int64 rows, int64 columns, int64 b_apart, int32 act, T alpha, uint32 threshold, T scale,
//      uint64 seed, uint64 step
// out: T* y
const long long column = 32LL * blockIdx.x + threadIdx.x;
const long long place = blockIdx.z * rows * columns + column;  // of this model, in row 0
const Rows own = rows_of_chunk(blockIdx.y, rows);
const T kept_scale = scale_of(blockIdx.z, drops, scale);
const T bias = b && column < columns ? b[blockIdx.z * b_apart + column] : T(0);
for (long long tile = own.first; tile < own.last; tile += Mask<32>::ROWS) {
    const long long end = min(tile + Mask<32>::ROWS, own.last);
    const Dropout drop = dropout_of(blockIdx.z, drops, threshold, seed, step + counters[CALL]);
    const Mask<32> mask = draw_mask<32>(drop, tile, end, columns);
    if (column >= columns) continue;
    const auto apply = [&](int act) {
        for (long long row = tile + threadIdx.y; row < end; row += 8) {
            const long long i = row * columns + place;
            const T a = activate(z[i] + bias, act, alpha);
            y[i] = mask.keeps(row, column) ? a * kept_scale : T(0);
        }
    };
    act == RELU ? apply(RELU) : apply(act);  // a short loop is unrolled
}
