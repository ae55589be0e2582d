// Numbers of two bytes as CUDA has them, half and bfloat16: computed in float, rounded once.
#pragma once

namespace simgpu {
struct Binary16 {
    static unsigned short from(double x) { return bits_as<unsigned short>((_Float16)x); }
    static float to(unsigned short bits) { return (float)bits_as<_Float16>(bits); }
};
struct Brain16 {
    static unsigned short from(double x) {
        unsigned int word = bits_as<unsigned int>((float)x);
        if (x != x) return 0x7fff;
        const float near = bits_as<float>(word);  // an odd last bit stands for what was cut off
        if ((double)near != x && !(word & 1) && (word & 0x7fffffffu) != 0x7f800000u)
            word += __builtin_fabs((double)near) < __builtin_fabs(x) ? 1 : -1;
        return (unsigned short)((word + 0x7fff + (word >> 16 & 1)) >> 16);
    }
    static float to(unsigned short bits) { return bits_as<float>((unsigned int)bits << 16); }
};

#define SIMGPU_BINARY(op, name)                                                                  \
    friend T operator op(T a, T b) { return (float)a op (float)b; }                              \
    friend T name(T a, T b) { return a op b; }                                                   \
    T &operator op##=(T b) { return self() = self() op b; }
#define SIMGPU_COMPARED(op, name)                                                                \
    friend bool operator op(T a, T b) { return (float)a op (float)b; }                           \
    friend bool name(T a, T b) { return a op b; }
template <class T, class Format, class Raw> struct Short {
    unsigned short __x;
    Short() = default;
    Short(Raw raw) : __x(raw.x) {}
    Short(double x) : __x(Format::from(x)) {}
    Short(float x) : Short((double)x) {}
    template <class Integer, class = decltype(Integer() % 1)> Short(Integer x) : Short((double)x) {}
    operator float() const { return Format::to(__x); }
    operator Raw() const { return {__x}; }
    T operator-() const { return Raw{(unsigned short)(__x ^ 0x8000)}; }
    T &operator++() { return self() += 1.0f; }
    T &operator--() { return self() -= 1.0f; }
    T &self() { return static_cast<T &>(*this); }
    SIMGPU_BINARY(+, __hadd) SIMGPU_BINARY(-, __hsub) SIMGPU_BINARY(*, __hmul) SIMGPU_BINARY(/, __hdiv)
    SIMGPU_COMPARED(==, __heq) SIMGPU_COMPARED(!=, __hne) SIMGPU_COMPARED(<, __hlt)
    SIMGPU_COMPARED(<=, __hle) SIMGPU_COMPARED(>, __hgt) SIMGPU_COMPARED(>=, __hge)
    friend T __hneg(T x) { return -x; }
    friend T __habs(T x) { return Raw{(unsigned short)(x.__x & 0x7fff)}; }
    friend T __hfma(T a, T b, T c) { return (double)(float)a * (float)b + (double)(float)c; }
    friend T __hmax(T a, T b) { return fmaxf(a, b); }
    friend T __hmin(T a, T b) { return fminf(a, b); }
    friend bool __hisnan(T x) { return x != x; }
    friend int __hisinf(T x) { return __builtin_isinf_sign((float)x); }
};
#undef SIMGPU_BINARY
#undef SIMGPU_COMPARED

#define SIMGPU_BINARY(op, name)                                                                  \
    friend T operator op(T a, T b) { return {a.x op b.x, a.y op b.y}; }                          \
    friend T name(T a, T b) { return a op b; }                                                   \
    T &operator op##=(T b) { return static_cast<T &>(*this) = static_cast<T &>(*this) op b; }
template <class T, class One> struct alignas(4) Short2 {
    One x, y;
    SIMGPU_BINARY(+, __hadd2) SIMGPU_BINARY(-, __hsub2) SIMGPU_BINARY(*, __hmul2) SIMGPU_BINARY(/, __h2div)
    friend T __hneg2(T a) { return {-a.x, -a.y}; }
    friend T __hfma2(T a, T b, T c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }
    friend float __low2float(T a) { return a.x; }
    friend float __high2float(T a) { return a.y; }
};
#undef SIMGPU_BINARY

template <class T> T add_at(T *at, T more) {
    const T old = *at;
    *at = old + more;
    return old;
}
}  // namespace simgpu

#define SIMGPU_SHORT_MATH(name)                                                                  \
    template <class T, class F, class R> T h##name(simgpu::Short<T, F, R> x) { return name((float)x); } \
    template <class T, class One> T h2##name(simgpu::Short2<T, One> a) { return {h##name(a.x), h##name(a.y)}; }
SIMGPU_FN float rcp(float x) { return 1 / x; }
SIMGPU_SHORT_MATH(exp) SIMGPU_SHORT_MATH(exp2) SIMGPU_SHORT_MATH(exp10) SIMGPU_SHORT_MATH(log) SIMGPU_SHORT_MATH(log2)
SIMGPU_SHORT_MATH(log10) SIMGPU_SHORT_MATH(sqrt) SIMGPU_SHORT_MATH(rsqrt) SIMGPU_SHORT_MATH(rcp) SIMGPU_SHORT_MATH(sin)
SIMGPU_SHORT_MATH(cos) SIMGPU_SHORT_MATH(tanh) SIMGPU_SHORT_MATH(ceil) SIMGPU_SHORT_MATH(floor) SIMGPU_SHORT_MATH(trunc)
SIMGPU_SHORT_MATH(rint)

// A type's functions by their names. one, two: as in __float2half, __float22half2_rn.
#define SIMGPU_SHORT(T, T2, one, two)                                                            \
    SIMGPU_FN T __float2##one(float x) { return x; }                                             \
    SIMGPU_FN T __float2##one##_rn(float x) { return x; }                                        \
    SIMGPU_FN T __double2##one(double x) { return x; }                                           \
    SIMGPU_FN T __int2##one##_rn(int x) { return x; }                                            \
    SIMGPU_FN T __uint2##one##_rn(unsigned int x) { return x; }                                  \
    SIMGPU_FN float __##one##2float(T x) { return x; }                                           \
    SIMGPU_FN int __##one##2int_rn(T x) { return __float2int_rn(x); }                            \
    SIMGPU_FN int __##one##2int_rz(T x) { return __float2int_rz(x); }                            \
    SIMGPU_FN unsigned short __##one##_as_ushort(T x) { return x.__x; }                          \
    SIMGPU_FN short __##one##_as_short(T x) { return (short)x.__x; }                             \
    SIMGPU_FN T __ushort_as_##one(unsigned short x) { return T##_raw{x}; }                       \
    SIMGPU_FN T __short_as_##one(short x) { return T##_raw{(unsigned short)x}; }                 \
    SIMGPU_FN T2 make_##two(T x, T y) { return {x, y}; }                                         \
    SIMGPU_FN T2 __halves2##two(T x, T y) { return {x, y}; }                                     \
    SIMGPU_FN T2 __##one##2##two(T x) { return {x, x}; }                                         \
    SIMGPU_FN T2 __float2##two##_rn(float x) { return {x, x}; }                                  \
    SIMGPU_FN T2 __floats2##two##_rn(float x, float y) { return {x, y}; }                        \
    SIMGPU_FN T2 __float22##two##_rn(float2 x) { return {x.x, x.y}; }                            \
    SIMGPU_FN float2 __##two##2float2(T2 x) { return {x.x, x.y}; }                               \
    SIMGPU_FN T __low2##one(T2 x) { return x.x; }                                                \
    SIMGPU_FN T __high2##one(T2 x) { return x.y; }                                               \
    SIMGPU_FN T atomicAdd(T *at, T more) { return simgpu::add_at(at, more); }                    \
    SIMGPU_FN T2 atomicAdd(T2 *at, T2 more) { return simgpu::add_at(at, more); }
