#pragma once
// Neighbours in memory, 16 bytes of them, that a thread loads and stores in one instruction: four
// floats, or two doubles.
template <typename T> struct alignas(16) Vector {
    static constexpr int SIZE = 16 / sizeof(T);
    T at[SIZE];
};

// The n-th of an array that begins on 16 bytes, with `first`.
template <typename T> __device__ __forceinline__ Vector<T> &vector_of(T &first, ptrdiff_t n) {
    return reinterpret_cast<Vector<T> *>(&first)[n];
}
template <typename T>
__device__ __forceinline__ const Vector<T> &vector_of(const T &first, ptrdiff_t n) {
    return reinterpret_cast<const Vector<T> *>(&first)[n];
}
