#pragma once
#include "common.cuh"
#include "counters.cuh"
// The gradient that an update sees: scaled so that the global norm is at most clip_norm, then
// clamped to [-clip_value, clip_value]. Without clipping both limits are infinite and the gradient
// passes unchanged. norm is the global norm, left on the device by kernels/optim/norm.cu.
template <typename T>
__device__ __forceinline__ T clipped(T grad, T norm, T clip_norm, T clip_value) {
    const T scale = clip_norm / (norm + T(1e-6));
    const T scaled = scale < T(1) ? grad * scale : grad;
    return minimum(maximum(scaled, -clip_value), clip_value);
}
// Weight decay as L2, the gradient of weight_decay / 2 * param^2; after clipping, before the
// formula. A formula that names weight_decay among its scalars (AdamW, Lion) decays by itself.
template <typename T>
__device__ __forceinline__ T decayed(T grad, T param, T weight_decay) {
    return weight_decay != T(0) ? grad + weight_decay * param : grad;  // 0 times an infinity is nan
}
