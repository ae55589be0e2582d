#pragma once
#include "nn/mask.cuh"
#include "vector.cuh"
// Dropout of models of `plane` elements each, one behind the other. A call of Philox makes the bits
// of sixteen, so a warp takes 32 times as many: each thread draws for sixteen of them, and all load
// and store neighbours, whose bits they get from who drew them.
constexpr int PER_CALL = 16;

// A block's model, and where in the model its threads draw, in calls.
struct Block {
    unsigned int model;
    long long call;
};

__device__ __forceinline__ Block block_of(long long plane) {
    const long long size = PER_CALL * (long long)blockDim.x;
    const unsigned int blocks = (unsigned int)((plane + size - 1) / size);
    return Block{blockIdx.x / blocks, (long long)(blockIdx.x % blocks) * blockDim.x};
}

// N neighbours a thread in one instruction. scalar loads: with N = 1, of what does not begin on 16
// bytes.
template <int N, typename T>
__device__ __forceinline__ void drop_by(const T *x, T *y, long long plane, long long first,
                                        unsigned int kept, T scale) {
    const int lane = threadIdx.x % 32;
    const int left = (int)min(plane - first, 32LL * PER_CALL);
    Vector<T, N> held[PER_CALL / N] = {};
#pragma unroll
    for (int k = 0; k < PER_CALL / N; ++k) {
        const int place = N * (32 * k + lane);  // among the warp's elements
        if (place < left) held[k] = neighbours<N>(x[first + place]);
    }
#pragma unroll
    for (int k = 0; k < PER_CALL / N; ++k) {
        const int place = N * (32 * k + lane), drawn_by = place / PER_CALL;
        const unsigned int own = __shfl_sync(0xffffffff, kept, drawn_by) >> place % PER_CALL;
#pragma unroll
        for (int j = 0; j < N; ++j) held[k].at[j] = own >> j & 1 ? held[k].at[j] * scale : T(0);
        if (place < left) neighbours<N>(y[first + place]) = held[k];
    }
}

template <typename T>
__device__ __forceinline__ void drop(const T *x, T *y, long long plane, const Block &block,
                                     const Dropout &drop, T scale) {
    constexpr int N = Vector<T>::SIZE;
    x += block.model * plane;
    y += block.model * plane;
    const unsigned int kept = kept_of_group(drop, block.call + threadIdx.x);
    const long long first = PER_CALL * (block.call + threadIdx.x / 32 * 32);  // of the warp
    const bool whole = plane % N == 0 && ((size_t)x | (size_t)y) % sizeof(Vector<T>) == 0;
    whole ? drop_by<N>(x, y, plane, first, kept, scale)
          : drop_by<1>(x, y, plane, first, kept, scale);
}
