#pragma once
#include "nn/mask.cuh"
// Several models of one shape at once: each block works for one, blockIdx.z. A single one is model 0.

// Dropout's numbers of this block's model. `drops`: where each has its own, a row of threshold, seed,
// step and the bits of scale; else null.
__device__ __forceinline__ Dropout dropout_of_model(const unsigned long long *drops,
                                                    unsigned int threshold, unsigned long long seed,
                                                    unsigned long long step, long long call) {
    const unsigned long long *own = drops + 4 * blockIdx.z;
    if (!drops) return Dropout{threshold, seed, step + call};
    return Dropout{(unsigned int)own[0], own[1], own[2] + call};
}

template <typename T>
__device__ __forceinline__ T scale_of_model(const unsigned long long *drops, T single) {
    return drops ? *reinterpret_cast<const T *>(drops + 4 * blockIdx.z + 3) : single;
}
