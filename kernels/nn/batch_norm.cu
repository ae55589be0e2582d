// y = dropout(act(gamma * (z - mean) * inv + beta)), with the batch's own mean and variance (Ioffe &
// Szegedy 2015). b, which a mean takes away again, is seen by the running mean alone.
//
// A block has 8 columns and one chunk of the rows, 1024 at most, so that a thread can keep its values.
// With one chunk all is one launch, parts = 3. Else the first launch, parts = 1, leaves each chunk's
// mean and sum of squares around it in scratch[chunk, 2, column], and the second, parts = 2, combines
// them (Chan, Golub & LeVeque 1983).
#include "counters.cuh"
#include "nn/activation.cuh"
#include "nn/columns.cuh"
#include "nn/models.cuh"
#include "nn/running.cuh"
// threads: 8, 128
// in:  T* z, T* gamma, T* beta, T* b, int64* counters,
//      uint64* drops
// numbers: int64 rows, int64 columns, int64 apart, T momentum, T eps, int32 track, int32 act, T alpha,
//      uint32 threshold, T scale, uint64 seed, uint64 step, int32 parts
// out: T* y, T* mean, T* inv, T* running_mean, T* running_var, T* scratch
constexpr int WIDTH = 8, DEPTH = 128, HELD = 8;
const long long column = WIDTH * blockIdx.x + threadIdx.x;
const long long place = blockIdx.z * rows * columns + column;  // of this model, in row 0
const long long weight = blockIdx.z * apart + column;
const unsigned int statistic = blockIdx.z * (unsigned int)columns + (unsigned int)column;
const long long first_chunk = blockIdx.z * gridDim.y;  // of this model, in scratch
const bool inside = column < columns;
const bool writes = inside && threadIdx.y == 0;
const Rows own = rows_of_chunk(blockIdx.y, rows);
const T factor = inside ? gamma[weight] : T(0), shift = inside ? beta[weight] : T(0);
const T bias = writes && b ? b[weight] : T(0);
T centre = T(0), squares = T(0);

if (parts & 1) {
    T held[HELD], sum = T(0);  // zeros where there is no row
#pragma unroll
    for (int k = 0; k < HELD; ++k) {
        const long long row = own.first + threadIdx.y + k * DEPTH;
        held[k] = inside && row < own.last ? z[row * columns + place] : T(0);
    }
#pragma unroll
    for (int k = 0; k < HELD; ++k) sum += held[k];
    centre = sum_down<WIDTH>(sum) / T(max(own.count(), 1LL));
#pragma unroll
    for (int k = 0; k < HELD; ++k) {
        const T off = own.first + threadIdx.y + k * DEPTH < own.last ? held[k] - centre : T(0);
        squares += off * off;
    }
    squares = sum_down<WIDTH>(squares);
}
if (parts == 1) {
    if (writes) {
        scratch[2 * (first_chunk + blockIdx.y) * columns + column] = centre;
        scratch[(2 * (first_chunk + blockIdx.y) + 1) * columns + column] = squares;
    }
    return;
}
if (parts == 2) {  // every block of these columns comes to the same result
    for (long long chunk = threadIdx.y; inside && chunk < gridDim.y; chunk += DEPTH)
        centre += T(rows_of_chunk(chunk, rows).count()) * scratch[2 * (first_chunk + chunk) * columns + column];
    centre = sum_down<WIDTH>(centre) / T(rows);
    for (long long chunk = threadIdx.y; inside && chunk < gridDim.y; chunk += DEPTH) {
        const T off = scratch[2 * (first_chunk + chunk) * columns + column] - centre;
        const T count = T(rows_of_chunk(chunk, rows).count());
        squares += scratch[(2 * (first_chunk + chunk) + 1) * columns + column] + count * off * off;
    }
    squares = sum_down<WIDTH>(squares);
}

const T inverse = T(1) / sqrt(squares / T(rows) + eps);
if (writes && blockIdx.y == 0) {
    mean[statistic] = centre;
    inv[statistic] = inverse;
    if (track) {
        keep_running(running_mean[statistic], running_var[statistic], momentum, centre + bias,
                     squares / T(rows - 1));
    }
}
const Dropout drop = dropout_of(blockIdx.z, drops, threshold, seed, step + counters[CALL]);
const T kept_scale = scale_of(blockIdx.z, drops, scale);
const Mask<WIDTH> mask = draw_mask<WIDTH>(drop, own.first, own.last, columns);
const auto apply = [&](int act) {
    for (long long row = own.first + threadIdx.y; inside && row < own.last; row += DEPTH) {
        const long long i = row * columns + place;
        const T a = activate(factor * ((z[i] - centre) * inverse) + shift, act, alpha);
        y[i] = mask.keeps(row, column) ? a * kept_scale : T(0);
    }
};
act == RELU ? apply(RELU) : apply(act);  // a short loop is unrolled
