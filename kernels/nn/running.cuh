#pragma once
// BatchNorm's running statistics of a column, from a batch's mean and unbiased variance.
template <typename T>
__device__ __forceinline__ void keep_running(T &mean, T &variance, T momentum, T batch_mean,
                                             T batch_variance) {
    const T rest = T(1) - momentum;  // not r += momentum * (new - r), which may lose a small new
    mean = rest * mean + momentum * batch_mean;
    variance = rest * variance + momentum * batch_variance;
}
