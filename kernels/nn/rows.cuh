#pragma once
#include "vector.cuh"
// Kernels that copy rows of `width` elements: `threads` take a row, each one element or, where rows
// begin on vectors (gpunet.kernel.together), NEIGHBOURS<T, S>. scalar loads: where they do not.

// How many are 16 bytes of the wider type.
template <typename T, typename S>
constexpr int NEIGHBOURS = 16 / (sizeof(T) > sizeof(S) ? sizeof(T) : sizeof(S));

// N neighbours as T, scaled.
template <int N, typename T, typename S>
__device__ __forceinline__ void move(const S &from, T &to, T scale) {
    const Vector<S, N> in = neighbours<N>(from);
    Vector<T, N> out;
#pragma unroll
    for (int k = 0; k < N; ++k) out.at[k] = T(in.at[k]) * scale;
    neighbours<N>(to) = out;
}
