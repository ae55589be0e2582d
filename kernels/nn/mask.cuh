#pragma once
#include "philox.cuh"
// kernels/nn/dropout.cu's mask for a block of threads on WIDTH columns, Mask<WIDTH>::ROWS at a time.
// Philox makes sixteen elements' bits in one call of some 400 instructions, so the block makes each
// call once and keeps the bits in shared memory.

struct Dropout {
    unsigned int threshold;  // 0: everything is kept
    unsigned long long seed, step;
};

// Which of the sixteen elements from 16 * group on are kept, a bit each.
__device__ __forceinline__ unsigned int kept_of_group(const Dropout &drop, long long group) {
    const Philox random = philox(drop.seed, group + 1, drop.step);
    unsigned int kept = 0;
#pragma unroll
    for (int e = 0; e < 16; ++e)
        kept |= ((random.word[e / 4] >> 16 * (e % 4) & 0xFFFF) >= drop.threshold) << e;
    return kept;
}

template <int WIDTH> struct Mask {
    static constexpr int GROUPS = (WIDTH + 14) / 16 + 1;  // of sixteen that WIDTH neighbours touch
    static constexpr int ROWS = 8192 / WIDTH;

    const unsigned short *bits;  // of a row's groups, from `first` on
    long long first_row, first_column, columns;

    __device__ bool keeps(long long row, long long column) const {
        if (!bits) return true;
        const long long i = row * columns + column;
        const long long group = i / 16 - (row * columns + first_column) / 16;
        return bits[(row - first_row) * GROUPS + group] >> i % 16 & 1;
    }
};

// The mask of rows first_row to last_row, Mask<WIDTH>::ROWS at most. All threads of the block must call.
template <int WIDTH>
__device__ __forceinline__ Mask<WIDTH> draw_mask(const Dropout &drop, long long first_row,
                                                 long long last_row, long long columns) {
    constexpr int GROUPS = Mask<WIDTH>::GROUPS;
    __shared__ unsigned short bits[Mask<WIDTH>::ROWS * GROUPS];
    const long long first_column = (long long)WIDTH * blockIdx.x;
    if (drop.threshold == 0) return Mask<WIDTH>{nullptr, first_row, first_column, columns};
    __syncthreads();  // who reads the last mask is done
    const int threads = blockDim.x * blockDim.y, groups = int(last_row - first_row) * GROUPS;
    for (int place = threadIdx.y * WIDTH + threadIdx.x; place < groups; place += threads) {
        const long long start = (first_row + place / GROUPS) * columns + first_column;
        const long long group = start / 16 + place % GROUPS;
        if (group > (start + WIDTH - 1) / 16) continue;  // these columns do not reach it
        bits[place] = (unsigned short)kept_of_group(drop, group);
    }
    __syncthreads();
    return Mask<WIDTH>{bits, first_row, first_column, columns};
}
