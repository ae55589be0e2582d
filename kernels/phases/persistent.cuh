#pragma once
#include <cooperative_groups.h>
#include "phases/step.cuh"
// Many steps in one launch: the same phases, between which all blocks wait for each other.

// A phase of the persistent kernel: the grid, whatever its size, does all blocks of all networks.
// Block b of network m falls to the same block of the grid in every phase: so it finds the tile of W
// that it has updated itself.
//
// meets: first all blocks wait for each other, here and nowhere else; what one has written before it,
// all see behind it. A grid that the GPU does not hold at once would wait for ever: the launch is
// cooperative, which refuses it. What the phase does ahead a block does while it waits.
template <typename Phase, typename Nets>
__device__ __forceinline__ void every(const Nets &nets, const Clock &clock,
                                      typename Phase::Shared &own, bool meets) {
    const auto grid = cooperative_groups::this_grid();
    auto arrived = meets ? grid.barrier_arrive() : 0;
    for (int k = blockIdx.x;; k += gridDim.x) {
        const bool first = k == blockIdx.x;
        const bool there = k < Phase::blocks(nets[0].rows) * nets.count;
        if (!first && !there) return;
        if (there) Phase::ahead(nets[k % nets.count], clock, own, k / nets.count);
        if (first && meets)
            grid.barrier_wait(static_cast<decltype(arrived) &&>(arrived));
        else
            __syncthreads();
        if (!there) return;
        Phase::run(nets[k % nets.count], clock, own, k / nets.count);
        __syncthreads();
    }
}

// `count` steps in one launch: step(clock, whether it is the first).
template <typename Nets, typename Step>
__device__ __forceinline__ void many(const Nets &nets, int count, Step step) {
    long long *counters = nets[0].counters;
    Clock now = clock_at(counters, NEXT), next = now;
    for (int k = 0; k < count; ++k) {
        now = next;
        step(now, k == 0);
        next = after(now, nets[0].rows);
    }
    if (blockIdx.x > 0 || threadIdx.x > 0) return;
    set_clock(counters, 0, now);
    set_clock(counters, NEXT, next);
}
