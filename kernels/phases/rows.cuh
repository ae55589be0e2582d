#pragma once
#include "phases/net.cuh"
// The last layers, the loss, and back: a block has one row of the batch, and what follows a sum
// needs no other. For small matrices only: each block reads them whole, and ahead, but where the
// step begins with this phase and other blocks are still updating them.

// total(c, sum over j of term(j, c)) for c below OUT, j below COUNT: a thread adds every GROUPS-th
// term, then halves of the groups are added to each other.
template <int OUT, int COUNT, typename Term, typename Total>
__device__ __forceinline__ void sum_terms(T *scratch, Term term, Total total) {
    constexpr int ACROSS = OUT < THREADS ? OUT : THREADS;
    constexpr int FIT = THREADS / ACROSS;
    constexpr int GROUPS = FIT >= 16 ? 16 : FIT >= 8 ? 8 : FIT >= 4 ? 4 : FIT >= 2 ? 2 : 1;
    const int group = threadIdx.x / ACROSS;
    for (int c = threadIdx.x % ACROSS; c < OUT + threadIdx.x % ACROSS; c += ACROSS) {
        T sum = T(0);
        if (group < GROUPS && c < OUT) {
#pragma unroll 8
            for (int j = group; j < COUNT; j += GROUPS) sum += term(j, c);
        }
        for (int half = GROUPS / 2; half; half /= 2) {
            scratch[threadIdx.x] = sum;
            __syncthreads();
            if (group < half) sum += scratch[threadIdx.x + half * ACROSS];
            __syncthreads();
        }
        if (group == 0 && c < OUT) total(c, sum);
    }
    __syncthreads();
}

template <typename L> __device__ __forceinline__ void row_weights(const Net &net, T *w) {
    const T *W = values<typename L::Weight>(net);
#pragma unroll 4
    for (int i = threadIdx.x; i < L::IN * L::OUT; i += THREADS) w[i] = W[i];
}

__device__ __forceinline__ void row_label(const Net &net, const Clock &clock, long long &label,
                                          int row) {
    if (threadIdx.x == 0) label = net.labels[net.order[clock.row + row]];
}

// One row of the layer's input; behind it the threads have to meet.
template <typename L>
__device__ __forceinline__ void row_input(const Net &net, const Clock &clock, T *x, int row) {
    for (int k = threadIdx.x; k < L::IN; k += THREADS) x[k] = input<L>(net, clock, k, row);
}

// The layer's y in shared memory, of the last layer z without its bias; from the partial sums, or
// from x, the row before it, and W.
template <typename L>
__device__ __forceinline__ void row_forward(const Net &net, const Clock &clock, T *scratch,
                                            const T *x, const T *W, T *y, int row) {
    const T *partial = net.work + L::PARTIAL;
    const auto total = [&](int c, T z) {
        if (L::LAST) {
            y[c] = z;
            return;
        }
        const T s = L::BIAS ? z + values<typename L::Bias>(net)[c] : z;
        y[c] = forward<L>(net, clock, s, row, c);
    };
    const auto part = [&](int chunk, int c) { return partial[L::partial(chunk, row, c)]; };
    const auto term = [&](int k, int c) { return x[k] * W[k * L::OUT + c]; };
    if (L::CHUNKS)
        sum_terms<L::OUT, L::CHUNKS>(scratch, part, total);
    else
        sum_terms<L::OUT, L::IN>(scratch, term, total);
}

// Loss and dz of the last layer, z becoming dz.
template <typename L>
__device__ __forceinline__ void row_loss_and_back(const Net &net, T *z, long long label, int row) {
    if (threadIdx.x < 32) {
        const Logits<T> logits{z, L::BIAS ? values<typename L::Bias>(net) : nullptr, L::OUT};
        const Row<T> found = row_loss(logits, label, net.smoothing);
        const T factor = found.valid ? T(1) / T(net.rows) : found.loss;  // or nan
        __syncwarp();
        for (int c = threadIdx.x; c < L::OUT; c += 32) {
            const T dz = factor * row_gradient(logits, found, c, label, net.smoothing);
            z[c] = dz;
            net.work[L::DZ + c * STRIDE + row] = dz;
        }
        if (threadIdx.x == 0) net.work[ROW_LOSSES + row] = found.loss;
    }
    __syncthreads();
}

// dz of the layer before, from this one's and its W.
template <typename L, typename Before>
__device__ __forceinline__ void row_backward(const Net &net, const Clock &clock, T *scratch,
                                             const T *dz, const T *W, T *before, int row) {
    sum_terms<L::IN, L::OUT>(
        scratch, [&](int c, int j) { return dz[c] * W[j * L::OUT + c]; },
        [&](int j, T dy) {
            const T da = backward<Before>(net, clock, dy, seen_of<Before>(net, row, j), row, j);
            before[j] = da;
            net.work[Before::DZ + j * STRIDE + row] = da;
        });
}
