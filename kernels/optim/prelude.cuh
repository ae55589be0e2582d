#pragma once
#include "common.cuh"
#include "counters.cuh"
// What gradients are multiplied with so that their global norm, left on the device by
// kernels/optim/norm.cu, is at most clip_norm. Without clipping that is infinite: not divided, for
// dividing an infinity is a GPU's slow way.
template <typename T> __device__ __forceinline__ T clip_scale(T norm, T clip_norm) {
    if (clip_norm - clip_norm != T(0)) return T(1);
    const T scale = clip_norm / (norm + T(1e-6));
    return scale < T(1) ? scale : T(1);
}
// The gradient that an update sees: scaled, then clamped to [-clip_value, clip_value], which may be
// infinite. A nan is neither above nor below, and stays one.
template <typename T> __device__ __forceinline__ T clipped(T grad, T scale, T clip_value) {
    const T scaled = grad * scale;
    return scaled > clip_value ? clip_value : scaled < -clip_value ? -clip_value : scaled;
}
// Weight decay as L2, the gradient of weight_decay / 2 * param^2; after clipping, before the
// formula. A formula that names weight_decay among its scalars (AdamW, Lion) decays by itself.
template <typename T>
__device__ __forceinline__ T decayed(T grad, T param, T weight_decay) {
    return weight_decay != T(0) ? grad + weight_decay * param : grad;  // 0 times an infinity is nan
}
