// Back through y = dropout(act(gamma * normal + beta)), normal = (z - mean) * inv, from y and z (an
// activation whose gradient is made from its input gets that made again):
//     dz = gamma * inv / rows * (rows * g - sum(g) - normal * sum(g * normal))
// with g the gradient of what the activation saw; dbeta and dgamma are the two sums. The bias b that
// BatchNorm takes away has the gradient 0. The array g comes with the gradient of y, holds g between
// the two passes, and leaves with dz.
//
// Parts and chunks as in batch_norm.cu; scratch[chunk, 2, column] holds the two sums.
#include "counters.cuh"
#include "nn/backward.cuh"
#include "nn/columns.cuh"
#include "nn/models.cuh"
// threads: 8, 128
// in:  T* y, T* z, T* mean, T* inv, T* gamma, T* beta,
//      int64* counters, uint64* drops
// numbers: int64 rows, int64 columns, int64 apart, int32 act, T alpha, uint32 threshold, T scale,
//      uint64 seed, uint64 step, int32 add, int32 parts
// out: T* g, T* dgamma, T* dbeta, T* db, T* scratch
constexpr int WIDTH = 8, DEPTH = 128;
const long long column = WIDTH * blockIdx.x + threadIdx.x;
const long long place = blockIdx.z * rows * columns + column;  // of this model, in row 0
const long long weight = blockIdx.z * apart + column, statistic = blockIdx.z * columns + column;
const long long first_chunk = blockIdx.z * gridDim.y;  // of this model, in scratch
const bool inside = column < columns;
const bool writes = inside && threadIdx.y == 0;
const Rows own = rows_of_chunk(blockIdx.y, rows);
const T centre = inside ? mean[statistic] : T(0), inverse = inside ? inv[statistic] : T(0);
T sum = T(0), sum_normal = T(0);

if (parts & 1) {
    const Source source = source_of(act);
    const Dropout drop = dropout_of(blockIdx.z, drops, threshold, seed, step + counters[CALL]);
    const T kept_scale = scale_of(blockIdx.z, drops, scale);
    const T factor = inside ? gamma[weight] : T(0), shift = inside ? beta[weight] : T(0);
    const Mask<WIDTH> mask = draw_mask<WIDTH>(shown_by_output(drop, source), own.first,
                                                     own.last, columns);
    const auto back = [&](int act, Source source) {
        for (long long row = own.first + threadIdx.y; inside && row < own.last; row += DEPTH) {
            const long long i = row * columns + place;
            const T normal = (z[i] - centre) * inverse;
            const T from = source == INPUT ? factor * normal + shift : y[i];
            const bool kept = mask.keeps(row, column);
            const T da = block_backward(g[i], from, kept, kept_scale, source, act, alpha);
            sum += da;
            sum_normal += da * normal;
            g[i] = da;
        }
    };
    act == RELU ? back(RELU, OUTPUT_0) : back(act, source);  // a short loop is unrolled
}
if (parts == 2) {
    for (long long chunk = threadIdx.y; inside && chunk < gridDim.y; chunk += DEPTH) {
        sum += scratch[2 * (first_chunk + chunk) * columns + column];
        sum_normal += scratch[(2 * (first_chunk + chunk) + 1) * columns + column];
    }
}
sum = sum_down<WIDTH>(sum);
sum_normal = sum_down<WIDTH>(sum_normal);
if (parts == 1) {
    if (writes) {
        scratch[2 * (first_chunk + blockIdx.y) * columns + column] = sum;
        scratch[(2 * (first_chunk + blockIdx.y) + 1) * columns + column] = sum_normal;
    }
    return;
}

if (writes && blockIdx.y == 0) {
    dgamma[weight] = add ? dgamma[weight] + sum_normal : sum_normal;
    dbeta[weight] = add ? dbeta[weight] + sum : sum;
    if (db && !add) db[weight] = T(0);
}
const T factor = inside ? gamma[weight] * inverse / T(rows) : T(0);
for (long long row = own.first + threadIdx.y; inside && row < own.last; row += DEPTH) {
    const long long i = row * columns + place;
    const T normal = (z[i] - centre) * inverse;
    g[i] = factor * (T(rows) * g[i] - sum - normal * sum_normal);
}
