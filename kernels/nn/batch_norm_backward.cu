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
// threads: 8, 128
// in:  T* y, T* z, T* mean, T* inv, T* gamma, T* beta,
//      int64* counters
// numbers: int64 rows, int64 columns, int32 act, T alpha, uint32 threshold, T scale,
//      uint64 seed, uint64 step, int32 add, int32 parts
// out: T* g, T* dgamma, T* dbeta, T* db, T* scratch
constexpr int WIDTH = 8, DEPTH = 128;
const long long column = WIDTH * blockIdx.x + threadIdx.x;
const bool inside = column < columns;
const bool writes = inside && threadIdx.y == 0;
const Rows own = rows_of_chunk(blockIdx.y, rows);
const T centre = inside ? mean[column] : T(0), inverse = inside ? inv[column] : T(0);
T sum = T(0), sum_normal = T(0);

if (parts & 1) {
    const Source source = source_of(act);
    const Dropout drop = shown_by_output(Dropout{threshold, seed, step + counters[CALL]}, source);
    const T factor = inside ? gamma[column] : T(0), shift = inside ? beta[column] : T(0);
    const Mask<WIDTH> mask = draw_mask<WIDTH>(drop, own.first, own.last, columns);
    const auto back = [&](int act, Source source) {
        for (long long row = own.first + threadIdx.y; inside && row < own.last; row += DEPTH) {
            const long long i = row * columns + column;
            const T normal = (z[i] - centre) * inverse;
            const T from = source == INPUT ? factor * normal + shift : y[i];
            const bool kept = mask.keeps(row, column);
            const T da = block_backward(g[i], from, kept, scale, source, act, alpha);
            sum += da;
            sum_normal += da * normal;
            g[i] = da;
        }
    };
    act == RELU ? back(RELU, OUTPUT_0) : back(act, source);  // a short loop is unrolled
}
if (parts == 2) {
    for (long long chunk = threadIdx.y; inside && chunk < gridDim.y; chunk += DEPTH) {
        sum += scratch[2 * chunk * columns + column];
        sum_normal += scratch[(2 * chunk + 1) * columns + column];
    }
}
sum = sum_down<WIDTH>(sum);
sum_normal = sum_down<WIDTH>(sum_normal);
if (parts == 1) {
    if (writes) {
        scratch[(2 * blockIdx.y) * columns + column] = sum;
        scratch[(2 * blockIdx.y + 1) * columns + column] = sum_normal;
    }
    return;
}

if (writes && blockIdx.y == 0) {
    dgamma[column] = add ? dgamma[column] + sum_normal : sum_normal;
    dbeta[column] = add ? dbeta[column] + sum : sum;
    if (db && !add) db[column] = T(0);
}
const T factor = inside ? gamma[column] * inverse / T(rows) : T(0);
for (long long row = own.first + threadIdx.y; inside && row < own.last; row += DEPTH) {
    const long long i = row * columns + column;
    const T normal = (z[i] - centre) * inverse;
    g[i] = factor * (T(rows) * g[i] - sum - normal * sum_normal);
}
