#pragma once
#include "philox.cuh"
// kernels/nn/dropout.cu's mask for a block of 32 x 32 threads on 32 columns, MASK_ROWS rows at a
// time. Philox makes sixteen elements' bits in one call of some 400 instructions, so the block makes
// each call once and keeps the bits in shared memory.
constexpr int MASK_ROWS = 256;
constexpr int GROUPS = 3;  // of sixteen that 32 neighbours can touch

struct Dropout {
    unsigned int threshold;  // 0: everything is kept
    unsigned long long seed, step;
};

struct Mask {
    const unsigned short *bits;  // of a row's GROUPS groups, from `first` on
    long long first_row, first_column, columns;

    __device__ bool keeps(long long row, long long column) const {
        if (!bits) return true;
        const long long i = row * columns + column;
        const long long group = i / 16 - (row * columns + first_column) / 16;
        return bits[(row - first_row) * GROUPS + group] >> i % 16 & 1;
    }
};

// The mask of rows first_row to last_row, MASK_ROWS at most. All threads of the block must call.
__device__ __forceinline__ Mask draw_mask(const Dropout &drop, long long first_row,
                                          long long last_row, long long columns) {
    __shared__ unsigned short bits[MASK_ROWS * GROUPS];
    const long long first_column = 32LL * blockIdx.x;
    if (drop.threshold == 0) return Mask{nullptr, first_row, first_column, columns};
    __syncthreads();  // who reads the last mask is done
    const int place = threadIdx.y * 32 + threadIdx.x;
    const long long row = first_row + place / GROUPS;
    if (place < MASK_ROWS * GROUPS && row < last_row) {
        const long long group = (row * columns + first_column) / 16 + place % GROUPS;
        const Philox random = philox(drop.seed, group + 1, drop.step);
        unsigned int kept = 0;
        for (int e = 0; e < 16; ++e)
            kept |= ((random.word[e / 4] >> 16 * (e % 4) & 0xFFFF) >= drop.threshold) << e;
        bits[place] = (unsigned short)kept;
    }
    __syncthreads();
    return Mask{bits, first_row, first_column, columns};
}
