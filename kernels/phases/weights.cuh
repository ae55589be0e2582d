#pragma once
#include "phases/product.cuh"
// The last phase: dW = x^T dz tile by tile, each element updated as soon as its gradient is there,
// which is never stored; the biases of the layers that `rows` did; the mean loss.

// Rows that a block holds at a time: of 100 twice 52.
constexpr int PIECES = (STRIDE + 63) / 64, PIECE = (QUADS + PIECES - 1) / PIECES * 4;

template <typename L> struct alignas(16) WeightsTile {
    T x[L::CHUNK][PIECE + 4];
    T dz[WIDTH][PIECE + 4];
};

// The gradients of a thread: of four inputs, by columns c and c + 16.
struct Own {
    T sum[4][2] = {};
    const int k = threadIdx.x / 16 * 4, c = threadIdx.x % 16;
};

// dz of the tile's columns, ROWS rows from `first` on.
template <typename L, int ROWS>
__device__ __forceinline__ void load_dz(const Net &net, T (*dz)[ROWS + 4], int block, int first) {
    const int c0 = block % L::TILES * WIDTH;
    carry<WIDTH * ROWS>(
        [&](int i) {
            const int c = c0 + i / ROWS, row = first + i % ROWS;
            return c < L::OUT && row < net.rows ? net.work[L::DZ + c * STRIDE + row] : T(0);
        },
        [&](int i, T value) { dz[i / ROWS][i % ROWS] = value; });
}

template <typename L, int ROWS>
__device__ __forceinline__ void add_rows(Own &own, const T (*x)[ROWS + 4], const T (*dz)[ROWS + 4]) {
    if (own.k >= L::CHUNK) return;
#pragma unroll 4
    for (int row = 0; row < ROWS; row += 4) {
        const Four d[2] = {four(&dz[own.c][row]), four(&dz[own.c + 16][row])};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const Four a = four(&x[own.k + i][row]);
#pragma unroll
            for (int r = 0; r < 8; ++r) own.sum[i][r / 4] += a.v[r % 4] * d[r / 4].v[r % 4];
        }
    }
}

// The updates of these elements, which lie at place(k, c) of the part's arrays.
template <typename L, typename Place>
__device__ __forceinline__ void update_own(const Part &part, const Scalars &now, const Own &own,
                                           int block, Place place) {
    const int k0 = block / L::TILES * L::CHUNK, c0 = block % L::TILES * WIDTH;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int k = own.k + i / 2, c = own.c + 16 * (i % 2);
        if (k < L::CHUNK && k0 + k < L::IN && c0 + c < L::OUT)
            update(part, now, place(k, c), own.sum[i / 2][i % 2]);
    }
}

// Where element (k, c) of a tile of W lies in the optimizer's arrays.
template <typename L> __device__ __forceinline__ int place_of(int block, int k, int c) {
    const int k0 = block / L::TILES * L::CHUNK, c0 = block % L::TILES * WIDTH;
    return L::Weight::AT + (k0 + k) * L::OUT + c0 + c;
}

// The first rows of a layer's input, where these are not from the phase before.
template <typename L>
__device__ __forceinline__ void weights_ahead(const Net &net, const Clock &clock,
                                              WeightsTile<L> &tile, int block) {
    if (L::EARLY) load_inputs<L, PIECE>(net, clock, tile.x, block / L::TILES * L::CHUNK, 0);
}

template <typename L>
__device__ __forceinline__ void weights(const Net &net, const Clock &clock, WeightsTile<L> &tile,
                                        int block) {
    const int k0 = block / L::TILES * L::CHUNK;
    Own own;
    for (int first = 0; first < net.rows; first += PIECE) {
        __syncthreads();
        if (first > 0 || !L::EARLY) load_inputs<L, PIECE>(net, clock, tile.x, k0, first);
        load_dz<L, PIECE>(net, tile.dz, block, first);
        __syncthreads();
        add_rows<L, PIECE>(own, tile.x, tile.dz);
    }
    const Part &part = net.parts[L::Weight::PART];
    update_own<L>(part, scalars_at(part, clock), own, block,
                  [&](int k, int c) { return place_of<L>(block, k, c); });
}

template <typename L> __device__ __forceinline__ void bias(const Net &net, const Clock &clock) {
    for (int c = threadIdx.x; c < L::OUT; c += THREADS) {
        T sum = T(0);
#pragma unroll 8
        for (int row = 0; row < net.rows; ++row) sum += net.work[L::DZ + c * STRIDE + row];
        update_one<typename L::Bias>(net, clock, c, sum);
    }
}

__device__ __forceinline__ void mean_loss(const Net &net, const Clock &clock) {
    if (threadIdx.x >= 32) return;
    T sum = T(0);
    for (int row = threadIdx.x; row < net.rows; row += 32) sum += net.work[ROW_LOSSES + row];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) net.losses[clock.batch] = double(sum / T(net.rows));
}
