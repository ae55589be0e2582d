#pragma once
// Neighbours in memory that a thread loads and stores in one instruction: N of them, which begin at
// a multiple of their size; without N 16 bytes, four floats or two doubles.
template <typename T, int N = 16 / sizeof(T)> struct alignas(N * sizeof(T)) Vector {
    static constexpr int SIZE = N;
    T at[N];
};

// The n-th vector of an array that begins with `first`.
template <typename T> __device__ __forceinline__ Vector<T> &vector_of(T &first, ptrdiff_t n) {
    return reinterpret_cast<Vector<T> *>(&first)[n];
}
template <typename T>
__device__ __forceinline__ const Vector<T> &vector_of(const T &first, ptrdiff_t n) {
    return reinterpret_cast<const Vector<T> *>(&first)[n];
}

// N neighbours, the first of them given.
template <int N, typename T> __device__ __forceinline__ Vector<T, N> &neighbours(T &first) {
    return reinterpret_cast<Vector<T, N> &>(first);
}
template <int N, typename T>
__device__ __forceinline__ const Vector<T, N> &neighbours(const T &first) {
    return reinterpret_cast<const Vector<T, N> &>(first);
}
