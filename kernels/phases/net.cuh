#pragma once
#include "nn/backward.cuh"
#include "nn/loss.cuh"
#include "nn/mask.cuh"
#include "nn/running.cuh"
// What every phase sees of a network. The program (gpunet/phases/program.py) says before this file what is fixed
// when it is compiled: T and S, the types of numbers here and in the data; THREADS of a block;
// STRIDE, the rows of a batch rounded up to four; LAYERS; Part and update, the optimizer.
//
// Arrays that lie between phases are in `work`, as [column][row] with STRIDE rows a column.

constexpr int WIDTH = 32;  // columns of a product's tile
constexpr int QUADS = STRIDE / 4;

struct alignas(16) Four {
    T v[4];
};
__device__ __forceinline__ const Four &four(const T *at) {
    return *reinterpret_cast<const Four *>(at);
}

// to(i, from(i)) for each i below COUNT, which the threads share. What a thread loads is on its way,
// up to sixteen numbers, before it needs the first: it would wait for each else.
template <int COUNT, typename From, typename To>
__device__ __forceinline__ void carry(From from, To to) {
    constexpr int TURNS = (COUNT + THREADS - 1) / THREADS, TIMES = (TURNS + 15) / 16;
    constexpr int AT_ONCE = (TURNS + TIMES - 1) / TIMES;
    for (int time = 0; time < TIMES; ++time) {
        const int first = time * AT_ONCE * THREADS + threadIdx.x;
        T value[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k)
            if (first + k * THREADS < COUNT) value[k] = from(first + k * THREADS);
#pragma unroll
        for (int k = 0; k < AT_ONCE; ++k)
            if (first + k * THREADS < COUNT) to(first + k * THREADS, value[k]);
    }
}

// What is set for one layer: its activation, dropout and BatchNorm.
struct Settings {
    T alpha, scale;
    unsigned int threshold;
    unsigned long long seed, step;
    T *running_mean, *running_var;
    T momentum, eps;
    int track;
};

struct Net {
    const S *data;
    const long long *order, *labels;
    T *work;
    double *losses;
    long long *counters;
    int rows;  // of this batch
    T rescale, smoothing;
    Part parts[PARTS];
    Settings of[LAYERS];
};

// The networks of a launch: one, which is an argument of the kernel, or several alike ones, with
// data, rows and counters in common, in a table. What a block does it does for one of them.
struct One {
    Net net;
    static constexpr int count = 1;
    __device__ __forceinline__ const Net &operator[](int) const { return net; }
};
struct Several {
    const Net *table;
    int count;
    __device__ __forceinline__ const Net &operator[](int model) const { return table[model]; }
};

// A layer L is a struct of constants: its sizes, how its work is cut, where its parameters
// (L::Weight, ...) lie in the optimizer's arrays, and where in `work` its X, Y, SEEN, NORMAL, INV,
// DZ, MASK and PARTIAL.

// The values of a parameter, such as L::Weight.
template <typename P> __device__ __forceinline__ T *values(const Net &net) {
    return net.parts[P::PART].arrays[0] + P::AT;
}

// The update of its element i.
template <typename P>
__device__ __forceinline__ void update_one(const Net &net, const Clock &clock, int i, T grad) {
    const Part &part = net.parts[P::PART];
    update(part, scalars_at(part, clock), P::AT + i, grad);
}

// Number (k, row) of a layer's input, 0 outside: of the first layer from the data, in the epoch's
// order.
template <typename L>
__device__ __forceinline__ T input(const Net &net, const Clock &clock, int k, int row) {
    if (k >= L::IN || row >= net.rows) return T(0);
    if (L::INDEX > 0) return net.work[L::X + k * STRIDE + row];
    return T(net.data[net.order[clock.row + row] * L::IN + k]) * net.rescale;
}

// Philox makes the bits of sixteen elements, neighbours in a row, in one call of some 400
// instructions: where a product comes before, threads that it has no use for draw them for all.
template <typename L> __device__ __forceinline__ unsigned int *mask(const Net &net) {
    return reinterpret_cast<unsigned int *>(net.work + L::MASK);
}

template <typename L>
__device__ __forceinline__ void draw_mask(const Net &net, const Clock &clock, int drawer) {
    const Settings &set = net.of[L::INDEX];
    if (!set.threshold) return;
    const Dropout drop{set.threshold, set.seed, set.step + clock.call};
    for (int group = drawer * THREADS + threadIdx.x; 16 * group < net.rows * L::OUT;
         group += L::DRAWERS * THREADS)
        mask<L>(net)[group] = kept_of_group(drop, group);
}

template <typename L>
__device__ __forceinline__ bool keeps(const Net &net, const Clock &clock, int row, int column) {
    const Settings &set = net.of[L::INDEX];
    if (!L::DROPS || !set.threshold) return true;
    const int i = row * L::OUT + column;
    if (L::DRAWERS) return mask<L>(net)[i / 16] >> i % 16 & 1;
    return random_bits16(set.seed, set.step + clock.call, i) >= set.threshold;
}

// What follows the sum s that the activation sees: y, left for backward and for the next layer.
template <typename L>
__device__ __forceinline__ T forward(const Net &net, const Clock &clock, T s, int row, int column) {
    const Settings &set = net.of[L::INDEX];
    T y = activate(s, L::ACT, set.alpha);
    if (L::DROPS) y = keeps<L>(net, clock, row, column) ? y * set.scale : T(0);
    net.work[L::Y + column * STRIDE + row] = y;
    if (source_of(L::ACT) == INPUT && !L::NORM) net.work[L::SEEN + column * STRIDE + row] = s;
    return y;
}

// Back to the sum. seen: y or s, as the activation's source says.
template <typename L>
__device__ __forceinline__ T backward(const Net &net, const Clock &clock, T dy, T seen, int row,
                                      int column) {
    const Settings &set = net.of[L::INDEX];
    const Source source = source_of(L::ACT);
    const bool kept = !L::DROPS || source == OUTPUT_0 || keeps<L>(net, clock, row, column);
    const T scale = L::DROPS ? set.scale : T(1);
    return block_backward(dy, seen, kept, scale, source, L::ACT, set.alpha);
}

// Of a layer without BatchNorm: what `backward` wants to see.
template <typename L> __device__ __forceinline__ T seen_of(const Net &net, int row, int column) {
    const long long place = source_of(L::ACT) == INPUT ? L::SEEN : L::Y;
    return net.work[place + column * STRIDE + row];
}
