#pragma once
#include "nn/mask.cuh"
// Several models of one shape at once: each block works for one, which in most kernels is blockIdx.z.
// A single one is model 0.

// Dropout's numbers of a model. `drops`: where each has its own, a row of threshold, seed, what is to
// be added to step, and the bits of scale; else null.
__device__ __forceinline__ Dropout dropout_of(unsigned int model, const unsigned long long *drops,
                                              unsigned int threshold, unsigned long long seed,
                                              unsigned long long step) {
    const unsigned long long *own = drops + 4 * model;
    return drops ? Dropout{(unsigned int)own[0], own[1], own[2] + step} : Dropout{threshold, seed, step};
}

template <typename T>
__device__ __forceinline__ T scale_of(unsigned int model, const unsigned long long *drops, T single) {
    return drops ? *reinterpret_cast<const T *>(drops + 4 * model + 3) : single;
}
