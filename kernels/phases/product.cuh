#pragma once
#include "phases/net.cuh"
// z = x W, cut among blocks: each takes CHUNK of the inputs and WIDTH of the columns, for all rows,
// and leaves its partial sums. Whoever needs z adds the CHUNKS of them up, always in one order.

// A block's piece of x in shared memory as [input][row], `rows` of them from `first` on.
template <typename L, int ROWS>
__device__ __forceinline__ void load_inputs(const Net &net, const Clock &clock, T (*x)[ROWS + 4],
                                            int k0, int first) {
    for (int i = threadIdx.x; i < L::CHUNK * ROWS; i += THREADS) {
        // Neighbours in memory to neighbouring threads: the data lies by rows, all else by columns.
        const int k = L::INDEX > 0 ? i / ROWS : i % L::CHUNK;
        const int row = L::INDEX > 0 ? i % ROWS : i / L::CHUNK;
        x[k][row] = input<L>(net, clock, k0 + k, first + row);
    }
}

template <typename L> struct alignas(16) ProductTile {
    T x[L::CHUNK][STRIDE + 4];
    T w[L::CHUNK][WIDTH];
};

// Blocks behind the tiles draw the layer's mask.
template <typename L>
__device__ __forceinline__ void product_ahead(const Net &net, const Clock &clock,
                                              ProductTile<L> &tile, int block) {
    constexpr int BLOCKS = L::TILES * L::CHUNKS;
    if (L::DRAWERS && block >= BLOCKS) return draw_mask<L>(net, clock, block - BLOCKS);
    const int k0 = block / L::TILES * L::CHUNK, c0 = block % L::TILES * WIDTH;
    const T *W = values<typename L::Weight>(net);
    if (L::INDEX == 0) load_inputs<L, STRIDE>(net, clock, tile.x, k0, 0);
    for (int i = threadIdx.x; i < L::CHUNK * WIDTH; i += THREADS) {
        const int k = k0 + i / WIDTH, c = c0 + i % WIDTH;
        tile.w[i / WIDTH][i % WIDTH] = k < L::IN && c < L::OUT ? W[k * L::OUT + c] : T(0);
    }
}

template <typename L>
__device__ __forceinline__ void product(const Net &net, const Clock &clock, ProductTile<L> &tile,
                                        int block) {
    const int chunk = block / L::TILES, k0 = chunk * L::CHUNK, c0 = block % L::TILES * WIDTH;
    if (L::DRAWERS && block >= L::TILES * L::CHUNKS) return;
    if (L::INDEX > 0) {
        load_inputs<L, STRIDE>(net, clock, tile.x, k0, 0);
        __syncthreads();
    }
    for (int o = threadIdx.x; o < QUADS * (WIDTH / 4); o += THREADS) {  // four rows of four columns
        const int row = o / (WIDTH / 4) * 4, c = o % (WIDTH / 4) * 4;
        T sum[4][4] = {};
#pragma unroll
        for (int k = 0; k < L::CHUNK; ++k) {
            const Four a = four(&tile.x[k][row]), b = four(&tile.w[k][c]);
#pragma unroll
            for (int i = 0; i < 16; ++i) sum[i / 4][i % 4] += a.v[i / 4] * b.v[i % 4];
        }
        T *partial = net.work + L::PARTIAL;
#pragma unroll
        for (int i = 0; i < 4; ++i) {  // neighbours in memory
            Four four;
            for (int j = 0; j < 4; ++j) four.v[j] = L::BY_ROW ? sum[i][j] : sum[j][i];
            const int r = L::BY_ROW ? row + i : row, column = c0 + (L::BY_ROW ? c : c + i);
            *reinterpret_cast<Four *>(partial + L::partial(chunk, r, column)) = four;
        }
    }
}
