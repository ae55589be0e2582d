// What CuPy puts around an ElementwiseKernel's or ReductionKernel's text: its arrays and its loop
// index, with CuPy's own layout, types and members. One thread handles one element, in order.
#pragma once

#define SIMGPU_CUPY_HEADERS
#include "device.h"

// Consecutive elements stand in blocks of 128 threads, CuPy's default.
namespace simgpu {
struct ThreadIndex {
    unsigned int x, y, z;
};
}  // namespace simgpu
[[maybe_unused]] static simgpu::ThreadIndex threadIdx = {0, 0, 0}, blockIdx = {0, 0, 0};
[[maybe_unused]] static const simgpu::ThreadIndex blockDim = {128, 1, 1};
[[maybe_unused]] static simgpu::ThreadIndex gridDim = {1, 1, 1};

template <typename T, int _ndim, bool _c_contiguous = false, bool _use_32bit_indexing = false>
class CArray {
public:
    static const int ndim = _ndim;
    static const bool c_contiguous = _c_contiguous;
    typedef ptrdiff_t index_t;

private:
    T *data_;
    ptrdiff_t size_, shape_[ndim], strides_[ndim];

    T *at(const char *base, ptrdiff_t offset) const {
        return reinterpret_cast<T *>(const_cast<char *>(base) + offset);
    }

    template <typename Int>
    T *find(const Int (&index)[ndim]) const {
        ptrdiff_t offset = 0;
        for (int axis = 0; axis < ndim; ++axis) offset += strides_[axis] * (ptrdiff_t)index[axis];
        return at(reinterpret_cast<const char *>(data_), offset);
    }

    T *find(ptrdiff_t i) const {
        if (c_contiguous) return data_ + i;
        ptrdiff_t offset = 0;
        for (int axis = ndim; --axis > 0;) {
            offset += strides_[axis] * (i % shape_[axis]);
            i /= shape_[axis];
        }
        return at(reinterpret_cast<const char *>(data_), offset + strides_[0] * i);
    }

public:
    ptrdiff_t size() const { return size_; }
    const ptrdiff_t *shape() const { return shape_; }
    const ptrdiff_t *strides() const { return strides_; }

    template <typename Int>
    T &operator[](const Int (&index)[ndim]) { return *find(index); }
    template <typename Int>
    const T &operator[](const Int (&index)[ndim]) const { return *find(index); }
    T &operator[](ptrdiff_t i) { return *find(i); }
    const T &operator[](ptrdiff_t i) const { return *find(i); }
};

template <typename T, bool _use_32bit_indexing>
class CArray<T, 0, true, _use_32bit_indexing> {
    T *data_;
    ptrdiff_t size_;

public:
    static const int ndim = 0;
    typedef ptrdiff_t index_t;

    ptrdiff_t size() const { return size_; }
    const ptrdiff_t *shape() const { return nullptr; }
    const ptrdiff_t *strides() const { return nullptr; }
    template <typename Index>
    T &operator[](const Index &) { return *data_; }
    template <typename Index>
    T operator[](const Index &) const { return *data_; }
};

template <int _ndim, bool _use_32bit_indexing = false>
class CIndexer {
public:
    static const int ndim = _ndim;

private:
    ptrdiff_t size_, shape_[ndim], index_[ndim];
    typedef ptrdiff_t index_t[ndim];

public:
    ptrdiff_t size() const { return size_; }
    const index_t &get() const { return index_; }
    void set(ptrdiff_t i) {
        for (int axis = ndim; --axis > 0;) {
            index_[axis] = i % shape_[axis];
            i /= shape_[axis];
        }
        index_[0] = i;
    }
};

template <bool _use_32bit_indexing>
class CIndexer<0, _use_32bit_indexing> {
    ptrdiff_t size_;

public:
    static const int ndim = 0;

    ptrdiff_t size() const { return size_; }
    const ptrdiff_t *get() const { return nullptr; }
    void set(ptrdiff_t) {}
};

// CuPy's integer division: rounded down, zero for a divisor of zero.
template <typename Int>
SIMGPU_FN Int simgpu_floor_divide(Int x, Int y) {
    if (y == 0) return 0;
    const Int q = x / y;
    return q - (((x < 0) != (y < 0)) && q * y != x);
}
SIMGPU_FN int _floor_divide(int x, int y) { return simgpu_floor_divide(x, y); }
SIMGPU_FN long long _floor_divide(long long x, long long y) { return simgpu_floor_divide(x, y); }
SIMGPU_FN unsigned _floor_divide(unsigned x, unsigned y) { return y ? x / y : 0; }
SIMGPU_FN unsigned long long _floor_divide(unsigned long long x, unsigned long long y) {
    return y ? x / y : 0;
}
SIMGPU_FN float _floor_divide(float x, float y) { return floor(x / y); }
SIMGPU_FN double _floor_divide(double x, double y) { return floor(x / y); }
