#pragma once
#include "phases/net.cuh"
// z = x W, cut among blocks: each takes CHUNK of the inputs and WIDTH of the columns, for all rows,
// and leaves its partial sums. Whoever needs z adds the CHUNKS of them up, always in one order.

// A block's piece of x in shared memory as [input][row], `rows` of them from `first` on.
template <typename L, int ROWS>
__device__ __forceinline__ void load_inputs(const Net &net, const Clock &clock, T (*x)[ROWS + 4],
                                            int k0, int first) {
    // Neighbours in memory to neighbouring threads: the data lies by rows, all else by columns.
    const auto k = [](int i) { return L::INDEX > 0 ? i / ROWS : i % L::CHUNK; };
    const auto row = [](int i) { return L::INDEX > 0 ? i % ROWS : i / L::CHUNK; };
    carry<L::CHUNK * ROWS>(
        [&](int i) { return input<L>(net, clock, k0 + k(i), first + row(i)); },
        [&](int i, T value) { x[k(i)][row(i)] = value; });
}

template <typename L> struct alignas(16) ProductTile {
    T x[L::CHUNK][STRIDE + 4];
    T w[L::CHUNK][WIDTH];
};

// The block's tile of W.
template <typename L>
__device__ __forceinline__ void load_weights(const Net &net, T (*w)[WIDTH], int block) {
    const int k0 = block / L::TILES * L::CHUNK, c0 = block % L::TILES * WIDTH;
    const T *W = values<typename L::Weight>(net);
    carry<L::CHUNK * WIDTH>(
        [&](int i) {
            const int k = k0 + i / WIDTH, c = c0 + i % WIDTH;
            return k < L::IN && c < L::OUT ? W[k * L::OUT + c] : T(0);
        },
        [&](int i, T value) { w[i / WIDTH][i % WIDTH] = value; });
}

// The partial sums of a tile, from all rows of x.
template <typename L>
__device__ __forceinline__ void multiply(const Net &net, const T (*x)[STRIDE + 4],
                                         const T (*w)[WIDTH], int block) {
    const int chunk = block / L::TILES, c0 = block % L::TILES * WIDTH;
    for (int o = threadIdx.x; o < QUADS * (WIDTH / 4); o += THREADS) {  // four rows of four columns
        const int row = o / (WIDTH / 4) * 4, c = o % (WIDTH / 4) * 4;
        T sum[4][4] = {};
#pragma unroll
        for (int k = 0; k < L::CHUNK; ++k) {
            const Four a = four(&x[k][row]), b = four(&w[k][c]);
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

// Whether a block is behind the tiles, to draw the layer's mask.
template <typename L> __device__ __forceinline__ bool draws(int block) {
    return L::DRAWERS && block >= L::TILES * L::CHUNKS;
}

template <typename L>
__device__ __forceinline__ void product_ahead(const Net &net, const Clock &clock,
                                              ProductTile<L> &tile, int block) {
    if (draws<L>(block)) return draw_mask<L>(net, clock, block - L::TILES * L::CHUNKS);
    if (L::INDEX == 0) load_inputs<L, STRIDE>(net, clock, tile.x, block / L::TILES * L::CHUNK, 0);
    load_weights<L>(net, tile.w, block);
}

template <typename L>
__device__ __forceinline__ void product(const Net &net, const Clock &clock, ProductTile<L> &tile,
                                        int block) {
    if (draws<L>(block)) return;
    if (L::INDEX > 0) {
        load_inputs<L, STRIDE>(net, clock, tile.x, block / L::TILES * L::CHUNK, 0);
        __syncthreads();
    }
    multiply<L>(net, tile.x, tile.w, block);
}
