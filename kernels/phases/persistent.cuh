#pragma once
#include <cooperative_groups.h>
#include "phases/step.cuh"
// Many steps in one launch: the same phases, between which all blocks wait for each other.

// Where all blocks wait for each other; what one has written before it, all see behind it. Nowhere
// else does a block wait for another. A grid that the GPU does not hold at once would wait for
// ever: the launch is cooperative, which refuses it.
__device__ __forceinline__ void grid_barrier() { cooperative_groups::this_grid().sync(); }

// A phase of the persistent kernel: the grid, whatever its size, does all of the phase's blocks.
template <typename Phase>
__device__ __forceinline__ void every(const Net &net, const Clock &clock,
                                      typename Phase::Shared &own) {
    for (int block = blockIdx.x; block < Phase::blocks(net.rows); block += gridDim.x) {
        Phase::run(net, clock, own, block);
        __syncthreads();
    }
}

// `count` steps in one launch.
template <typename Step>
__device__ __forceinline__ void many(const Net &net, int count, Step step) {
    Clock now = clock_at(net.counters, NEXT), next = now;
    for (int k = 0; k < count; ++k) {
        now = next;
        step(now);
        next = after(now, net.rows);
    }
    if (blockIdx.x > 0 || threadIdx.x > 0) return;
    set_clock(net.counters, 0, now);
    set_clock(net.counters, NEXT, next);
}
