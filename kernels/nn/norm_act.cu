// z = act(gamma * (z + b - mean) / sqrt(var + eps) + beta) of the product z of a layer, in place, with
// BatchNorm's running mean and variance: what follows a product in evaluation mode. Of several models
// blockIdx.z tells which; `apart` leads from one's b, gamma and beta to the next one's.
#include "nn/activation.cuh"
#include "nn/columns.cuh"
// threads: 32, 8
// in:  T* b, T* gamma, T* beta, T* running_mean, T* running_var
// numbers: int64 rows, int64 columns, int64 apart, T eps, int32 act, T alpha
// out: T* z
const long long column = 32LL * blockIdx.x + threadIdx.x;
const Rows own = rows_of_chunk(blockIdx.y, rows);
if (column >= columns) return;
const long long weight = blockIdx.z * apart + column;
const long long place = blockIdx.z * rows * columns + column;  // of this model, in row 0
const unsigned int statistic = blockIdx.z * (unsigned int)columns + (unsigned int)column;
const T centre = running_mean[statistic] - (b ? b[weight] : T(0)), shift = beta[weight];
const T factor = gamma[weight] * (T(1) / sqrt(running_var[statistic] + eps));
const auto apply = [&](int act) {
    for (long long row = own.first + threadIdx.y; row < own.last; row += 8) {
        const long long i = row * columns + place;
        z[i] = activate(factor * (z[i] - centre) + shift, act, alpha);
    }
};
act == RELU ? apply(RELU) : apply(act);  // a short loop is unrolled
