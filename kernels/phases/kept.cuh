#pragma once
#include <cuda_pipeline.h>
#include "phases/persistent.cuh"
// What a block of the persistent kernel keeps of the first layer L, where each has one tile of it at
// most. Of the tile of W and the optimizer's state, which no other block reads or writes: all, from
// the first step of a launch to the last. Of x: that of a step, which both product and weights
// multiply with; in a second room that of the next one arrives while the last phase runs.

template <typename L> struct alignas(16) Kept {
    T x[2][L::CHUNK][STRIDE + 4];  // of even and of odd batches
    T arrays[ARRAYS][L::CHUNK][WIDTH];  // W first
    T dz[WIDTH][STRIDE + 4];
    long long from[STRIDE];  // in the data, of the rows of x to come
    long long last;          // batch of the launch
    Scalars now;             // of the update to come
};

template <typename L> __device__ __forceinline__ Kept<L> &kept() {
    extern __shared__ Four memory[];
    return *reinterpret_cast<Kept<L> *>(memory);
}

// Begin to copy a batch's x: the copies go on while the block does something else.
template <typename L>
__device__ __forceinline__ void fetch(const Net &net, const Clock &clock, Kept<L> &own, int block) {
    const int k0 = block / L::TILES * L::CHUNK;
    for (int row = threadIdx.x; row < net.rows; row += THREADS)
        own.from[row] = net.order[clock.row + row] * L::IN + k0;
    __syncthreads();
    auto &x = own.x[clock.batch & 1];
    const auto k = [](int i) { return i % L::CHUNK; };
    const auto row = [](int i) { return i / L::CHUNK; };
    const auto inside = [&](int i) { return k0 + k(i) < L::IN && row(i) < net.rows; };
    const auto there = [&](int i) { return net.data + own.from[row(i)] + k(i); };
    if constexpr (AS_IS) {
#pragma unroll 4
        for (int i = threadIdx.x; i < L::CHUNK * STRIDE; i += THREADS) {
            T &to = x[k(i)][row(i)];
            if (inside(i))
                __pipeline_memcpy_async(&to, there(i), sizeof(T));
            else
                to = T(0);
        }
    } else {
        carry<L::CHUNK * STRIDE>(
            [&](int i) { return inside(i) ? T(*there(i)) * net.rescale : T(0); },
            [&](int i, T value) { x[k(i)][row(i)] = value; });
    }
    __pipeline_commit();
}

// f(what is kept, what it stands for, whether that is there) of the tile and its state.
template <typename L, typename F>
__device__ __forceinline__ void each_kept(const Net &net, Kept<L> &own, int block, F f) {
    const int k0 = block / L::TILES * L::CHUNK, c0 = block % L::TILES * WIDTH;
    for (int a = 0; a < ARRAYS; ++a)
        for (int i = threadIdx.x; i < L::CHUNK * WIDTH; i += THREADS) {
            const int k = i / WIDTH, c = i % WIDTH;
            T *there = net.parts[L::Weight::PART].arrays[a] + place_of<L>(block, k, c);
            f(own.arrays[a][k][c], there, k0 + k < L::IN && c0 + c < L::OUT);
        }
}

// f(the network, the block of its first layer) if the block of the grid has one.
template <typename L, typename Nets, typename F>
__device__ __forceinline__ void where_kept(const Nets &nets, F f) {
    const int k = blockIdx.x;
    if (k < L::TILES * L::CHUNKS * nets.count) f(nets[k % nets.count], k / nets.count);
}

// Before the first of `count` steps.
template <typename L, typename Nets>
__device__ __forceinline__ void keep(const Nets &nets, int count) {
    where_kept<L>(nets, [&](const Net &net, int block) {
        Kept<L> &own = kept<L>();
        const Clock clock = clock_at(net.counters, NEXT);
        if (threadIdx.x == 0) own.last = clock.batch + count - 1;
        fetch<L>(net, clock, own, block);
        each_kept<L>(net, own, block, [](T &here, const T *there, bool is_there) {
            here = is_there ? *there : T(0);
        });
    });
}

// Behind the last.
template <typename L, typename Nets> __device__ __forceinline__ void give_back(const Nets &nets) {
    where_kept<L>(nets, [&](const Net &net, int block) {
        each_kept<L>(net, kept<L>(), block, [](const T &here, T *there, bool is_there) {
            if (is_there) *there = here;
        });
    });
}

template <typename L>
__device__ __forceinline__ void product_ahead(const Net &net, const Clock &clock, Kept<L> &own,
                                              int block) {
    if (draws<L>(block)) return draw_mask<L>(net, clock, block - L::TILES * L::CHUNKS);
    __pipeline_wait_prior(0);
}

template <typename L>
__device__ __forceinline__ void product(const Net &net, const Clock &clock, Kept<L> &own,
                                        int block) {
    if (!draws<L>(block)) multiply<L>(net, own.x[clock.batch & 1], own.arrays[0], block);
}

template <typename L>
__device__ __forceinline__ void weights_ahead(const Net &net, const Clock &clock, Kept<L> &own,
                                              int block) {
    if (threadIdx.x == 0) own.now = scalars_at(net.parts[L::Weight::PART], clock);
    if (clock.batch < own.last) fetch<L>(net, after(clock, net.rows), own, block);
}

template <typename L>
__device__ __forceinline__ void weights(const Net &net, const Clock &clock, Kept<L> &own,
                                        int block) {
    Own sums;
    load_dz<L, STRIDE>(net, own.dz, block, 0);
    __syncthreads();
    add_rows<L, STRIDE>(sums, own.x[clock.batch & 1], own.dz);
    Part part;
    for (int a = 0; a < ARRAYS; ++a) part.arrays[a] = own.arrays[a][0];
    update_own<L>(part, own.now, sums, block, [](int k, int c) { return k * WIDTH + c; });
}
