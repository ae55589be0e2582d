#pragma once
#include "counters.cuh"
// How far the training is, for one step. Launch by launch the first phase makes the counters'
// `next` their `now`, the others read that, and the last one writes `next`; the persistent kernel
// counts by itself and writes them at its end.

struct Clock {
    long long update, call, row, batch;
};

__device__ __forceinline__ Clock clock_at(const long long *counters, int from) {
    const long long *at = counters + from;
    return Clock{at[UPDATE], at[CALL], at[ROW], at[BATCH]};
}

__device__ __forceinline__ Clock after(const Clock &clock, int rows) {
    return Clock{clock.update + 1, clock.call + 1, clock.row + rows, clock.batch + 1};
}

// By one thread.
__device__ __forceinline__ void set_clock(long long *counters, int from, const Clock &clock) {
    counters[from + UPDATE] = clock.update;
    counters[from + CALL] = clock.call;
    counters[from + ROW] = clock.row;
    counters[from + BATCH] = clock.batch;
}
