#pragma once
#include "phases/product.cuh"
// The last phase: dW = x^T dz tile by tile, each element updated as soon as its gradient is there,
// which is never stored; the biases of the layers that `rows` did; the mean loss.

constexpr int PIECE = STRIDE < 64 ? STRIDE : 64;  // rows that a block holds at a time

template <typename L> struct alignas(16) WeightsTile {
    T x[L::CHUNK][PIECE + 4];
    T dz[WIDTH][PIECE + 4];
};

// The first rows of a layer's input, where these are not from the phase before.
template <typename L>
__device__ __forceinline__ void weights_ahead(const Net &net, const Clock &clock,
                                              WeightsTile<L> &tile, int block) {
    if (L::EARLY) load_inputs<L, PIECE>(net, clock, tile.x, block / L::TILES * L::CHUNK, 0);
}

template <typename L>
__device__ __forceinline__ void weights(const Net &net, const Clock &clock, WeightsTile<L> &tile,
                                        int block) {
    const int k0 = block / L::TILES * L::CHUNK, c0 = block % L::TILES * WIDTH;
    const int k = threadIdx.x / 16 * 4, c = threadIdx.x % 16;  // four inputs; columns c, c + 16
    T sum[4][2] = {};
    for (int first = 0; first < net.rows; first += PIECE) {
        __syncthreads();
        if (first > 0 || !L::EARLY) load_inputs<L, PIECE>(net, clock, tile.x, k0, first);
        for (int i = threadIdx.x; i < WIDTH * PIECE; i += THREADS) {
            const int c = c0 + i / PIECE, row = first + i % PIECE;
            const bool inside = c < L::OUT && row < net.rows;
            tile.dz[i / PIECE][i % PIECE] = inside ? net.work[L::DZ + c * STRIDE + row] : T(0);
        }
        __syncthreads();
        if (k < L::CHUNK) {
#pragma unroll 8
            for (int row = 0; row < PIECE; row += 4) {
                const Four d[2] = {four(&tile.dz[c][row]), four(&tile.dz[c + 16][row])};
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const Four x = four(&tile.x[k + i][row]);
#pragma unroll
                    for (int r = 0; r < 8; ++r) sum[i][r / 4] += x.v[r % 4] * d[r / 4].v[r % 4];
                }
            }
        }
    }
    const Part &part = net.parts[L::Weight::PART];
    const Scalars now = scalars_at(part, clock);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int own = k + i / 2, column = c0 + c + 16 * (i % 2);
        if (own < L::CHUNK && k0 + own < L::IN && column < L::OUT)
            update(part, now, L::Weight::AT + (k0 + own) * L::OUT + column, sum[i / 2][i % 2]);
    }
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
