#pragma once
#include "nn/activation.cuh"
#include "nn/mask.cuh"
// Back through y = dropout(act(x)), from y, or from x where the activation needs it.

// The mask is drawn again only where y does not show it: a dropped y is 0, where the gradient of
// some is 0 in any case.
__device__ __forceinline__ Dropout shown_by_output(Dropout drop, Source source) {
    if (source == OUTPUT_0) drop.threshold = 0;
    return drop;
}

// The gradient of x. seen: x or y, as the source says. scale: what dropout multiplied the kept ones
// with.
template <typename T>
__device__ __forceinline__ T block_backward(T gy, T seen, bool kept, T scale, Source source, int act,
                                            T alpha) {
    if (!kept || (source == OUTPUT_0 && seen == T(0))) return T(0);
    const bool as_is = source == INPUT || act == RELU;  // which sees the sign alone
    return activate_backward(gy * scale, as_is ? seen : seen / scale, act, alpha);
}
