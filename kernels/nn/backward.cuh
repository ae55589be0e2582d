#pragma once
#include "nn/activation.cuh"
#include "nn/mask.cuh"
// Back through y = dropout(act(x)), from y alone.

// The mask is drawn again only where y does not show it: a dropped y is 0, where the gradient of
// ReLU and sigmoid is 0 in any case.
__device__ __forceinline__ Dropout shown_by_output(Dropout drop, int act) {
    if (act == RELU || act == SIGMOID) drop.threshold = 0;
    return drop;
}

// The gradient of x. scale: what dropout multiplied the kept ones with.
template <typename T>
__device__ __forceinline__ T output_backward(T gy, T y, bool kept, T scale, int act) {
    if (!kept || ((act == RELU || act == SIGMOID) && y == T(0))) return T(0);
    return activate_backward(gy * scale, y / scale, act);
}
