#pragma once
#include "phases/columns.cuh"
#include "phases/rows.cuh"
#include "phases/weights.cuh"
// Phase by phase. A Phase is a struct of the program's: what the threads of a block share, how many
// blocks there are, what one does `ahead`, as long as others are still at the phase before, and what
// it does then.

// One launch: each block of the grid is one of the phase's, for network blockIdx.z.
template <typename Phase, bool FIRST, bool LAST, typename Nets>
__device__ __forceinline__ void node(const Nets &nets) {
    __shared__ typename Phase::Shared own;
    const Net &net = nets[blockIdx.z];
    const Clock clock = clock_at(net.counters, FIRST ? NEXT : 0);
    Phase::ahead(net, clock, own, blockIdx.x);
    __syncthreads();
    Phase::run(net, clock, own, blockIdx.x);
    if (blockIdx.x > 0 || blockIdx.z > 0 || threadIdx.x > 0) return;
    if (FIRST) set_clock(net.counters, 0, clock);
    if (LAST) set_clock(net.counters, NEXT, after(clock, net.rows));
}
