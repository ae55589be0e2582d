#pragma once
#include "phases/net.cuh"
// What follows a product, and back to it: a block has COLUMNS columns, all rows of them. Forward
// leaves y, backward dz and the updates of these columns' b, gamma and beta.

template <typename L> struct alignas(16) Columns {
    T value[L::COLUMNS][STRIDE];
    T centre[L::COLUMNS], inverse[L::COLUMNS];
};

// f(c, row, column, place) for this block's columns, all rows of the batch.
template <typename L, typename F>
__device__ __forceinline__ void each(const Net &net, int block, F f) {
    for (int i = threadIdx.x; i < L::COLUMNS * STRIDE; i += THREADS) {
        const int c = i / STRIDE, row = i % STRIDE, column = block * L::COLUMNS + c;
        if (row < net.rows && column < L::OUT) f(c, row, column, column * STRIDE + row);
    }
}

// The sum over the rows, by one warp: each lane gets it.
template <typename F> __device__ __forceinline__ T sum_rows(const Net &net, F f) {
    T sum = T(0);
    for (int row = threadIdx.x % 32; row < net.rows; row += 32) sum += f(row);
    return warp_sum(sum);
}

// What the activation sees behind a BatchNorm.
template <typename L> __device__ __forceinline__ T scaled(const Net &net, T normal, int column) {
    return values<typename L::Gamma>(net)[column] * normal + values<typename L::Beta>(net)[column];
}

template <typename L>
__device__ __forceinline__ void columns_forward(const Net &net, const Clock &clock, Columns<L> &own,
                                                int block) {
    const Settings &set = net.of[L::INDEX];
    const T *partial = net.work + L::PARTIAL;
    const int c = threadIdx.x / 32, column = block * L::COLUMNS + c;
    const T *b = L::BIAS ? values<typename L::Bias>(net) : nullptr;
    each<L>(net, block, [&](int c, int row, int column, int place) {
        T z = T(0);
#pragma unroll 8
        for (int k = 0; k < L::CHUNKS; ++k) z += partial[L::partial(k, row, column)];
        own.value[c][row] = z;
    });
    if (L::NORM) {
        __syncthreads();
        if (c < L::COLUMNS && column < L::OUT) {
            const T *z = own.value[c], rows = T(net.rows);
            const T centre = sum_rows(net, [&](int row) { return z[row]; }) / rows;
            const T squares = sum_rows(net, [&](int row) {
                return (z[row] - centre) * (z[row] - centre);
            });
            if (threadIdx.x % 32 == 0) {
                own.centre[c] = centre;
                net.work[L::INV + column] = own.inverse[c] = T(1) / sqrt(squares / rows + set.eps);
                if (set.track)
                    keep_running(set.running_mean[column], set.running_var[column], set.momentum,
                                 b ? centre + b[column] : centre, squares / (rows - T(1)));
            }
        }
        __syncthreads();
    }
    each<L>(net, block, [&](int c, int row, int column, int place) {
        T s = own.value[c][row];
        if (L::NORM) {
            const T normal = (s - own.centre[c]) * own.inverse[c];
            net.work[L::NORMAL + place] = normal;
            s = scaled<L>(net, normal, column);
        } else if (b) {
            s += b[column];
        }
        forward<L>(net, clock, s, row, column);
    });
}

template <typename L, typename Next> struct alignas(16) ColumnsBack {
    static constexpr int GROUPS = THREADS / QUADS;
    static constexpr int LENGTH = (Next::OUT + 3) / 4 * 4;
    Columns<L> own;
    T part[GROUPS][L::COLUMNS][STRIDE];
    T w[L::COLUMNS][LENGTH];
};

// These columns' rows of the next W.
template <typename L, typename Next>
__device__ __forceinline__ void columns_ahead(const Net &net, ColumnsBack<L, Next> &all, int block) {
    constexpr int LENGTH = ColumnsBack<L, Next>::LENGTH;
    const T *W = values<typename Next::Weight>(net);
    carry<L::COLUMNS * LENGTH>(
        [&](int i) {
            const int j = i % LENGTH, column = block * L::COLUMNS + i / LENGTH;
            return column < L::OUT && j < Next::OUT ? W[column * Next::OUT + j] : T(0);
        },
        [&](int i, T value) { all.w[i / LENGTH][i % LENGTH] = value; });
}

// dy = dz_next W_next^T for these columns: a thread has four rows of each, and every GROUPS-th four
// of the next layer's columns.
template <typename L, typename Next>
__device__ __forceinline__ void columns_dy(const Net &net, ColumnsBack<L, Next> &all) {
    constexpr int LENGTH = ColumnsBack<L, Next>::LENGTH, GROUPS = ColumnsBack<L, Next>::GROUPS;
    const T *dz = net.work + Next::DZ;
    const int group = threadIdx.x / QUADS, row = threadIdx.x % QUADS * 4;
    if (group < GROUPS) {
        constexpr int TURN = 4 * GROUPS, TURNS = (LENGTH + TURN - 1) / TURN;
        T sum[L::COLUMNS][4] = {};
#pragma unroll 4
        for (int turn = 0; turn < TURNS; ++turn) {
            const int j = turn * TURN + 4 * group;
            if (LENGTH % TURN && j >= LENGTH) continue;
            Four d[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) d[i] = four(dz + (j + i) * STRIDE + row);
#pragma unroll
            for (int c = 0; c < L::COLUMNS; ++c) {
                const Four w = four(&all.w[c][j]);
#pragma unroll
                for (int i = 0; i < 16; ++i) sum[c][i % 4] += d[i / 4].v[i % 4] * w.v[i / 4];
            }
        }
#pragma unroll
        for (int i = 0; i < 4 * L::COLUMNS; ++i)
            all.part[group][i / 4][row + i % 4] = sum[i / 4][i % 4];
    }
    __syncthreads();
}

template <typename L, typename Next>
__device__ __forceinline__ void columns_backward(const Net &net, const Clock &clock,
                                                 ColumnsBack<L, Next> &all, int block) {
    auto &own = all.own;
    columns_dy<L, Next>(net, all);
    each<L>(net, block, [&](int c, int row, int column, int place) {
        T dy = T(0);
        for (int g = 0; g < ColumnsBack<L, Next>::GROUPS; ++g) dy += all.part[g][c][row];
        const bool again = L::NORM && source_of(L::ACT) == INPUT;
        const T seen = again ? scaled<L>(net, net.work[L::NORMAL + place], column)
                             : seen_of<L>(net, row, column);
        own.value[c][row] = backward<L>(net, clock, dy, seen, row, column);
    });
    __syncthreads();
    const int c = threadIdx.x / 32, column = block * L::COLUMNS + c;
    const T *da = own.value[c], *normal = net.work + L::NORMAL + column * STRIDE;
    if (L::NORM) {
        T sum = T(0), sum_normal = T(0), factor = T(0);
        if (c < L::COLUMNS && column < L::OUT) {
            sum = sum_rows(net, [&](int row) { return da[row]; });
            sum_normal = sum_rows(net, [&](int row) { return da[row] * normal[row]; });
            const T gamma = values<typename L::Gamma>(net)[column];
            factor = gamma * net.work[L::INV + column] / T(net.rows);
            __syncwarp();
            for (int row = threadIdx.x % 32; row < net.rows; row += 32)
                net.work[L::DZ + column * STRIDE + row] =
                    factor * (T(net.rows) * da[row] - sum - normal[row] * sum_normal);
            if (threadIdx.x % 32 == 0) {
                update_one<typename L::Gamma>(net, clock, column, sum_normal);
                update_one<typename L::Beta>(net, clock, column, sum);
                // BatchNorm takes the bias away.
                if (L::BIAS) update_one<typename L::Bias>(net, clock, column, T(0));
            }
        }
    } else {
        each<L>(net, block, [&](int c, int row, int column, int place) {
            net.work[L::DZ + place] = own.value[c][row];
        });
        if (L::BIAS && c < L::COLUMNS && column < L::OUT) {
            const T sum = sum_rows(net, [&](int row) { return da[row]; });
            if (threadIdx.x % 32 == 0) update_one<typename L::Bias>(net, clock, column, sum);
        }
    }
}
