#pragma once
#include <cooperative_groups.h>
#include "phases/step.cuh"
// Many steps in one launch: the same phases, between which all blocks wait for each other.

// Where all blocks wait for each other; what one has written before it, all see behind it. Nowhere
// else does a block wait for another. A grid that the GPU does not hold at once would wait for
// ever: the launch is cooperative, which refuses it.
__device__ __forceinline__ void grid_barrier() { cooperative_groups::this_grid().sync(); }

// A phase of the persistent kernel: the grid, whatever its size, does all of the phase's blocks, of
// all networks. Block b of network m always falls to the same block of the grid, whatever the phase:
// so it finds the tile of W that it has updated itself.
template <typename Phase, typename Nets>
__device__ __forceinline__ void every(const Nets &nets, const Clock &clock,
                                      typename Phase::Shared &own) {
    const int all = Phase::blocks(nets[0].rows) * nets.count;
    for (int k = blockIdx.x; k < all; k += gridDim.x) {
        Phase::run(nets[k % nets.count], clock, own, k / nets.count);
        __syncthreads();
    }
}

// `count` steps in one launch.
template <typename Nets, typename Step>
__device__ __forceinline__ void many(const Nets &nets, int count, Step step) {
    long long *counters = nets[0].counters;
    Clock now = clock_at(counters, NEXT), next = now;
    for (int k = 0; k < count; ++k) {
        now = next;
        step(now);
        next = after(now, nets[0].rows);
    }
    if (blockIdx.x > 0 || threadIdx.x > 0) return;
    set_clock(counters, 0, now);
    set_clock(counters, NEXT, next);
}
