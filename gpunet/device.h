// What CUDA C text needs to compile as C++: qualifiers, vector types, device math, atomics.
//
// No standard header is included, so that a name NVRTC does not know (INFINITY, FLT_MAX, M_PI,
// int32_t, std::sqrt, ...) is a compile error here too, and a kernel compiles in a fraction of a
// second. Overload sets are CUDA's: max(int, unsigned) compiles, max(unsigned long long, int) is
// ambiguous, atomicMax(float *) does not exist.
//
// Two users: plain sequential loops (elementwise kernels), and <emulator.h>, which adds threads,
// blocks, barriers and warps. The loops define SIMGPU_CUPY_HEADERS before they include this file:
// it adds what CuPy itself puts in front of an ElementwiseKernel.
//
// A standard header must not meet this one in a translation unit: the C++ math headers declare the
// same names in another way. Compile with -ffp-contract=off: __fmul_rn and __fadd_rn promise not
// to be fused.
#pragma once

#if (!defined(__GNUC__) && !defined(SIMGPU_PREPROCESS)) || __cplusplus < 201703L
#error "device.h needs g++ with -std=c++17 or later"
#endif

// ---- the compiler that CUDA text expects to meet ------------------------------------------------

#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#define __NVCC__ 1
#define __CUDACC_VER_MAJOR__ 12
#define __CUDACC_VER_MINOR__ 0
#define CUDART_VERSION 12000
#define __CUDA_ARCH__ 900

#define __device__
#define __host__
#ifndef SIMGPU_PREPROCESS  // the compiler of kernels reads these two itself
#define __global__
#define __launch_bounds__(...)
#endif
#define __constant__
#define __managed__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_assume(condition) ((void)0)

using size_t = decltype(sizeof(0));
using ptrdiff_t = decltype((char *)0 - (char *)0);

#define SIMGPU_FN [[maybe_unused]] static inline __attribute__((always_inline))

// ---- vector types -------------------------------------------------------------------------------

#define SIMGPU_VECTOR(T, name, align2, align4)                                                   \
    struct name##1 { T x; };                                                                     \
    struct alignas(align2) name##2 { T x, y; };                                                  \
    struct name##3 { T x, y, z; };                                                               \
    struct alignas(align4) name##4 { T x, y, z, w; };                                            \
    SIMGPU_FN name##1 make_##name##1(T x) { return {x}; }                                        \
    SIMGPU_FN name##2 make_##name##2(T x, T y) { return {x, y}; }                                \
    SIMGPU_FN name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }                        \
    SIMGPU_FN name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

SIMGPU_VECTOR(signed char, char, 2, 4)
SIMGPU_VECTOR(unsigned char, uchar, 2, 4)
SIMGPU_VECTOR(short, short, 4, 8)
SIMGPU_VECTOR(unsigned short, ushort, 4, 8)
SIMGPU_VECTOR(int, int, 8, 16)
SIMGPU_VECTOR(unsigned int, uint, 8, 16)
SIMGPU_VECTOR(long, long, 16, 16)
SIMGPU_VECTOR(unsigned long, ulong, 16, 16)
SIMGPU_VECTOR(long long, longlong, 16, 16)
SIMGPU_VECTOR(unsigned long long, ulonglong, 16, 16)
SIMGPU_VECTOR(float, float, 8, 16)
SIMGPU_VECTOR(double, double, 16, 16)
#undef SIMGPU_VECTOR

struct dim3 {
    unsigned int x, y, z;
    constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

// ---- bits ---------------------------------------------------------------------------------------

namespace simgpu {
template <class To, class From>
inline __attribute__((always_inline)) To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits_as: sizes differ");
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}
}  // namespace simgpu

SIMGPU_FN int __float_as_int(float x) { return simgpu::bits_as<int>(x); }
SIMGPU_FN unsigned int __float_as_uint(float x) { return simgpu::bits_as<unsigned int>(x); }
SIMGPU_FN float __int_as_float(int x) { return simgpu::bits_as<float>(x); }
SIMGPU_FN float __uint_as_float(unsigned int x) { return simgpu::bits_as<float>(x); }
SIMGPU_FN long long __double_as_longlong(double x) { return simgpu::bits_as<long long>(x); }
SIMGPU_FN double __longlong_as_double(long long x) { return simgpu::bits_as<double>(x); }
SIMGPU_FN int __double2hiint(double x) { return (int)(__double_as_longlong(x) >> 32); }
SIMGPU_FN int __double2loint(double x) { return (int)__double_as_longlong(x); }
SIMGPU_FN double __hiloint2double(int hi, int lo) {
    return __longlong_as_double((long long)(((unsigned long long)(unsigned int)hi << 32) |
                                            (unsigned int)lo));
}

SIMGPU_FN int __popc(unsigned int x) { return __builtin_popcount(x); }
SIMGPU_FN int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
SIMGPU_FN int __clz(int x) { return x ? __builtin_clz((unsigned int)x) : 32; }
SIMGPU_FN int __clzll(long long x) { return x ? __builtin_clzll((unsigned long long)x) : 64; }
SIMGPU_FN int __ffs(int x) { return __builtin_ffs(x); }
SIMGPU_FN int __ffsll(long long x) { return __builtin_ffsll(x); }
SIMGPU_FN unsigned int __brev(unsigned int x) {
    x = ((x >> 1) & 0x55555555u) | ((x & 0x55555555u) << 1);
    x = ((x >> 2) & 0x33333333u) | ((x & 0x33333333u) << 2);
    x = ((x >> 4) & 0x0f0f0f0fu) | ((x & 0x0f0f0f0fu) << 4);
    return __builtin_bswap32(x);
}
SIMGPU_FN unsigned long long __brevll(unsigned long long x) {
    return ((unsigned long long)__brev((unsigned int)x) << 32) | __brev((unsigned int)(x >> 32));
}
SIMGPU_FN unsigned int __byte_perm(unsigned int x, unsigned int y, unsigned int selector) {
    const unsigned long long both = ((unsigned long long)y << 32) | x;
    unsigned int result = 0;
    for (int byte = 0; byte < 4; ++byte) {
        const unsigned int from = (selector >> (4 * byte)) & 7;
        result |= (unsigned int)((both >> (8 * from)) & 0xff) << (8 * byte);
    }
    return result;
}
SIMGPU_FN unsigned int __funnelshift_l(unsigned int lo, unsigned int hi, unsigned int shift) {
    return (unsigned int)(((((unsigned long long)hi << 32) | lo) << (shift & 31)) >> 32);
}
SIMGPU_FN unsigned int __funnelshift_r(unsigned int lo, unsigned int hi, unsigned int shift) {
    return (unsigned int)((((unsigned long long)hi << 32) | lo) >> (shift & 31));
}

SIMGPU_FN int __mul24(int x, int y) { return ((x << 8) >> 8) * ((y << 8) >> 8); }
SIMGPU_FN unsigned int __umul24(unsigned int x, unsigned int y) {
    return (x & 0xffffffu) * (y & 0xffffffu);
}
SIMGPU_FN int __mulhi(int x, int y) { return (int)(((long long)x * y) >> 32); }
SIMGPU_FN unsigned int __umulhi(unsigned int x, unsigned int y) {
    return (unsigned int)(((unsigned long long)x * y) >> 32);
}
SIMGPU_FN long long __mul64hi(long long x, long long y) {
    return (long long)(((__int128)x * y) >> 64);
}
SIMGPU_FN unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return (unsigned long long)(((unsigned __int128)x * y) >> 64);
}

// ---- minimum and maximum ------------------------------------------------------------------------

// libm's fmax is a call that stops a loop from vectorising; this is a compare and a blend. A NaN
// loses against a number, as in CUDA. (CUDA also orders -0 below +0; this keeps the first.)
#define SIMGPU_EXTREME(name, sign)                                                               \
    SIMGPU_FN float simgpu_##name(float a, float b) { return (a sign b || b != b) ? a : b; }     \
    SIMGPU_FN double simgpu_##name(double a, double b) { return (a sign b || b != b) ? a : b; }  \
    extern "C" inline float f##name##f(float a, float b) noexcept { return simgpu_##name(a, b); } \
    extern "C" inline double f##name(double a, double b) noexcept { return simgpu_##name(a, b); } \
    SIMGPU_FN float f##name(float a, float b) { return simgpu_##name(a, b); }                    \
    SIMGPU_FN float name(float a, float b) { return simgpu_##name(a, b); }                       \
    SIMGPU_FN double name(double a, double b) { return simgpu_##name(a, b); }                    \
    SIMGPU_FN double name(float a, double b) { return simgpu_##name((double)a, b); }             \
    SIMGPU_FN double name(double a, float b) { return simgpu_##name(a, (double)b); }
SIMGPU_EXTREME(max, >=) SIMGPU_EXTREME(min, <=)
#undef SIMGPU_EXTREME

#define SIMGPU_MINMAX(S, U)                                                                      \
    SIMGPU_FN S max(S a, S b) { return a > b ? a : b; }                                          \
    SIMGPU_FN S min(S a, S b) { return a < b ? a : b; }                                          \
    SIMGPU_FN U max(U a, U b) { return a > b ? a : b; }                                          \
    SIMGPU_FN U min(U a, U b) { return a < b ? a : b; }                                          \
    SIMGPU_FN U max(S a, U b) { return (U)a > b ? (U)a : b; }                                    \
    SIMGPU_FN U min(S a, U b) { return (U)a < b ? (U)a : b; }                                    \
    SIMGPU_FN U max(U a, S b) { return a > (U)b ? a : (U)b; }                                    \
    SIMGPU_FN U min(U a, S b) { return a < (U)b ? a : (U)b; }
SIMGPU_MINMAX(int, unsigned int)
SIMGPU_MINMAX(long, unsigned long)
SIMGPU_MINMAX(long long, unsigned long long)
#undef SIMGPU_MINMAX

SIMGPU_FN unsigned int umax(unsigned int a, unsigned int b) { return max(a, b); }
SIMGPU_FN unsigned int umin(unsigned int a, unsigned int b) { return min(a, b); }
SIMGPU_FN long long llmax(long long a, long long b) { return max(a, b); }
SIMGPU_FN long long llmin(long long a, long long b) { return min(a, b); }

// ---- math ---------------------------------------------------------------------------------------

// The C library's double and float functions (correctly rounded where CUDA promises that: sqrt,
// fma, floor, ...; elsewhere nearer to the true value than CUDA's own bound), and CUDA's float
// overload of each double name. SIMGPU_ROUGH1 and 2 are those that CUDA rounds in its own way: with
// SIMGPU_GPU_ARITHMETIC they are an ulp off wherever the result is no round number.
#define SIMGPU_MATH1(name)                                                                       \
    extern "C" double name(double) noexcept;                                                     \
    extern "C" float name##f(float) noexcept;                                                    \
    SIMGPU_FN float name(float x) { return name##f(x); }
#define SIMGPU_MATH2(name)                                                                       \
    extern "C" double name(double, double) noexcept;                                             \
    extern "C" float name##f(float, float) noexcept;                                             \
    SIMGPU_FN float name(float x, float y) { return name##f(x, y); }
#ifdef SIMGPU_GPU_ARITHMETIC
namespace simgpu {
// An ulp up or down, or none, as the bits fall; numbers with few bits (0, 1, 0.5) stay as they are.
inline float an_ulp_off(float x) {
    unsigned int bits = bits_as<unsigned int>(x);
    if (!__builtin_isfinite(x) || (bits & 0xfffu) == 0) return x;
    return bits_as<float>(bits + (bits * 2654435761u >> 28) % 3 - 1);
}
inline double an_ulp_off(double x) {
    unsigned long long bits = bits_as<unsigned long long>(x);
    if (!__builtin_isfinite(x) || (bits & 0xffffffull) == 0) return x;
    return bits_as<double>(bits + (bits * 0x9e3779b97f4a7c15ull >> 60) % 3 - 1);
}
}  // namespace simgpu
#define SIMGPU_ROUGH1(name)                                                                      \
    extern "C" double simgpu_libm_##name(double) noexcept __asm__(#name);                        \
    extern "C" float simgpu_libm_##name##f(float) noexcept __asm__(#name "f");                   \
    SIMGPU_FN double name(double x) { return simgpu::an_ulp_off(simgpu_libm_##name(x)); }        \
    SIMGPU_FN float name##f(float x) { return simgpu::an_ulp_off(simgpu_libm_##name##f(x)); }    \
    SIMGPU_FN float name(float x) { return name##f(x); }
#define SIMGPU_ROUGH2(name)                                                                      \
    extern "C" double simgpu_libm_##name(double, double) noexcept __asm__(#name);                \
    extern "C" float simgpu_libm_##name##f(float, float) noexcept __asm__(#name "f");            \
    SIMGPU_FN double name(double x, double y) {                                                  \
        return simgpu::an_ulp_off(simgpu_libm_##name(x, y));                                     \
    }                                                                                            \
    SIMGPU_FN float name##f(float x, float y) {                                                  \
        return simgpu::an_ulp_off(simgpu_libm_##name##f(x, y));                                  \
    }                                                                                            \
    SIMGPU_FN float name(float x, float y) { return name##f(x, y); }
#else
#define SIMGPU_ROUGH1 SIMGPU_MATH1
#define SIMGPU_ROUGH2 SIMGPU_MATH2
#endif

SIMGPU_MATH1(sqrt) SIMGPU_ROUGH1(cbrt)
SIMGPU_ROUGH1(exp) SIMGPU_ROUGH1(exp2) SIMGPU_ROUGH1(exp10) SIMGPU_ROUGH1(expm1)
SIMGPU_ROUGH1(log) SIMGPU_ROUGH1(log2) SIMGPU_ROUGH1(log10) SIMGPU_ROUGH1(log1p) SIMGPU_MATH1(logb)
SIMGPU_ROUGH1(sin) SIMGPU_ROUGH1(cos) SIMGPU_ROUGH1(tan)
SIMGPU_ROUGH1(asin) SIMGPU_ROUGH1(acos) SIMGPU_ROUGH1(atan)
SIMGPU_ROUGH1(sinh) SIMGPU_ROUGH1(cosh) SIMGPU_ROUGH1(tanh)
SIMGPU_ROUGH1(asinh) SIMGPU_ROUGH1(acosh) SIMGPU_ROUGH1(atanh)
SIMGPU_ROUGH1(erf) SIMGPU_ROUGH1(erfc) SIMGPU_ROUGH1(tgamma) SIMGPU_ROUGH1(lgamma)
SIMGPU_MATH1(floor) SIMGPU_MATH1(ceil) SIMGPU_MATH1(trunc) SIMGPU_MATH1(round)
SIMGPU_MATH1(rint) SIMGPU_MATH1(nearbyint) SIMGPU_MATH1(fabs)
SIMGPU_ROUGH2(pow) SIMGPU_ROUGH2(atan2) SIMGPU_MATH2(fmod) SIMGPU_MATH2(remainder)
SIMGPU_ROUGH2(hypot) SIMGPU_MATH2(copysign) SIMGPU_MATH2(nextafter) SIMGPU_MATH2(fdim)
#undef SIMGPU_MATH1
#undef SIMGPU_MATH2
#undef SIMGPU_ROUGH1
#undef SIMGPU_ROUGH2

extern "C" {
double fma(double, double, double) noexcept;
float fmaf(float, float, float) noexcept;
double ldexp(double, int) noexcept;
float ldexpf(float, int) noexcept;
double scalbn(double, int) noexcept;
float scalbnf(float, int) noexcept;
double frexp(double, int *) noexcept;
float frexpf(float, int *) noexcept;
double modf(double, double *) noexcept;
float modff(float, float *) noexcept;
void sincos(double, double *, double *) noexcept;
void sincosf(float, float *, float *) noexcept;
long lrint(double) noexcept;
long lrintf(float) noexcept;
long lround(double) noexcept;
long lroundf(float) noexcept;
double nan(const char *) noexcept;
float nanf(const char *) noexcept;
int abs(int) noexcept;
long labs(long) noexcept;
long long llabs(long long) noexcept;
void *malloc(size_t) noexcept;
void free(void *) noexcept;
int memcmp(const void *, const void *, size_t) noexcept;
void *memcpy(void *, const void *, size_t) noexcept;
void *memset(void *, int, size_t) noexcept;
int printf(const char *, ...);
inline double rsqrt(double x) noexcept { return 1.0 / __builtin_sqrt(x); }
inline float rsqrtf(float x) noexcept { return (float)(1.0 / __builtin_sqrt((double)x)); }
}
SIMGPU_FN float fma(float x, float y, float z) { return fmaf(x, y, z); }
SIMGPU_FN float ldexp(float x, int e) { return ldexpf(x, e); }
SIMGPU_FN float scalbn(float x, int e) { return scalbnf(x, e); }
SIMGPU_FN float frexp(float x, int *e) { return frexpf(x, e); }
SIMGPU_FN float modf(float x, float *whole) { return modff(x, whole); }
SIMGPU_FN void sincos(float x, float *s, float *c) { sincosf(x, s, c); }
SIMGPU_FN long lrint(float x) { return lrintf(x); }
SIMGPU_FN long lround(float x) { return lroundf(x); }
SIMGPU_FN float rsqrt(float x) { return rsqrtf(x); }
SIMGPU_FN double rcbrt(double x) { return 1.0 / cbrt(x); }
SIMGPU_FN float rcbrtf(float x) { return (float)(1.0 / cbrt((double)x)); }
SIMGPU_FN float pow(float x, int y) { return powf(x, (float)y); }
SIMGPU_FN double pow(double x, int y) { return pow(x, (double)y); }
SIMGPU_FN float abs(float x) { return __builtin_fabsf(x); }
SIMGPU_FN double abs(double x) { return __builtin_fabs(x); }
SIMGPU_FN long abs(long x) { return labs(x); }
SIMGPU_FN long long abs(long long x) { return llabs(x); }

#define SIMGPU_ASK(name)                                                                         \
    SIMGPU_FN bool name(float x) { return __builtin_##name(x); }                                 \
    SIMGPU_FN bool name(double x) { return __builtin_##name(x); }
SIMGPU_ASK(isnan) SIMGPU_ASK(isinf) SIMGPU_ASK(isfinite) SIMGPU_ASK(signbit)
#undef SIMGPU_ASK

// sin(pi x) and cos(pi x), exact at multiples of 1/2: reduce to a quarter turn first.
SIMGPU_FN void sincospi(double x, double *s, double *c) {
    const double turns = x - 2.0 * floor(x * 0.5), quarter = floor(2.0 * turns + 0.5);
    double a, b;
    sincos((turns - 0.5 * quarter) * 3.14159265358979323846, &a, &b);
    const int q = (int)quarter & 3;
    *s = q == 0 ? a : q == 1 ? b : q == 2 ? -a : -b;
    *c = q == 0 ? b : q == 1 ? -a : q == 2 ? -b : a;
}
SIMGPU_FN double sinpi(double x) { double s, c; sincospi(x, &s, &c); return s; }
SIMGPU_FN double cospi(double x) { double s, c; sincospi(x, &s, &c); return c; }
SIMGPU_FN float sinpif(float x) { return (float)sinpi((double)x); }
SIMGPU_FN float cospif(float x) { return (float)cospi((double)x); }
SIMGPU_FN float sinpi(float x) { return sinpif(x); }
SIMGPU_FN float cospi(float x) { return cospif(x); }
SIMGPU_FN void sincospif(float x, float *s, float *c) { *s = sinpif(x); *c = cospif(x); }
SIMGPU_FN double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752440); }
SIMGPU_FN float normcdff(float x) { return (float)normcdf((double)x); }

// Intrinsics. The fast ones (__expf, ...) trade accuracy for speed on a GPU; here they are exact.
#define SIMGPU_FAST(name) SIMGPU_FN float __##name(float x) { return name(x); }
SIMGPU_FAST(expf) SIMGPU_FAST(exp10f) SIMGPU_FAST(logf) SIMGPU_FAST(log2f) SIMGPU_FAST(log10f)
SIMGPU_FAST(sinf) SIMGPU_FAST(cosf) SIMGPU_FAST(tanf)
#undef SIMGPU_FAST
SIMGPU_FN void __sincosf(float x, float *s, float *c) { sincosf(x, s, c); }
SIMGPU_FN float __powf(float x, float y) { return powf(x, y); }
SIMGPU_FN float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
// CUDA: the quotient of a finite x and a y beyond 2^126 is 0.
SIMGPU_FN float __fdividef(float x, float y) {
    return __builtin_fabsf(y) > 0x1p126f && __builtin_isfinite(x) ? 0.0f : x / y;
}
SIMGPU_FN float fdividef(float x, float y) { return x / y; }

#define SIMGPU_ROUNDED(T, f, sqrt, fma)                                                          \
    SIMGPU_FN T __##f##add_rn(T x, T y) { return x + y; }                                        \
    SIMGPU_FN T __##f##sub_rn(T x, T y) { return x - y; }                                        \
    SIMGPU_FN T __##f##mul_rn(T x, T y) { return x * y; }                                        \
    SIMGPU_FN T __##f##div_rn(T x, T y) { return x / y; }                                        \
    SIMGPU_FN T __##f##rcp_rn(T x) { return 1 / x; }                                             \
    SIMGPU_FN T __##f##sqrt_rn(T x) { return __builtin_##sqrt(x); }                              \
    SIMGPU_FN T __##fma##_rn(T x, T y, T z) { return fma(x, y, z); }
SIMGPU_ROUNDED(float, f, sqrtf, fmaf) SIMGPU_ROUNDED(double, d, sqrt, fma)
#undef SIMGPU_ROUNDED
SIMGPU_FN float __frsqrt_rn(float x) { return rsqrtf(x); }

// Conversions saturate and turn NaN into 0 on a GPU; a plain C++ cast would be undefined.
namespace simgpu {
template <class To>
inline To saturate(double whole) {
    constexpr bool is_signed = To(-1) < To(0);
    constexpr int bits = 8 * (int)sizeof(To) - is_signed;
    constexpr double top = 2.0 * (double)(1ull << (bits - 1));
    constexpr To highest = is_signed ? To(~(1ull << bits % 64) & (~0ull >> (64 - 8 * sizeof(To))))
                                     : To(~0ull);
    if (whole != whole) return 0;
    if (whole >= top) return highest;
    if (is_signed ? whole < -top : whole < 0) return is_signed ? To(To(-1) - highest) : To(0);
    return (To)whole;
}
}  // namespace simgpu
#define SIMGPU_TO_INTEGER(To, float_name, double_name)                                           \
    SIMGPU_FN To float_name##_rz(float x) { return simgpu::saturate<To>(trunc((double)x)); }     \
    SIMGPU_FN To float_name##_rn(float x) { return simgpu::saturate<To>(rint((double)x)); }      \
    SIMGPU_FN To float_name##_rd(float x) { return simgpu::saturate<To>(floor((double)x)); }     \
    SIMGPU_FN To float_name##_ru(float x) { return simgpu::saturate<To>(ceil((double)x)); }      \
    SIMGPU_FN To double_name##_rz(double x) { return simgpu::saturate<To>(trunc(x)); }           \
    SIMGPU_FN To double_name##_rn(double x) { return simgpu::saturate<To>(rint(x)); }            \
    SIMGPU_FN To double_name##_rd(double x) { return simgpu::saturate<To>(floor(x)); }           \
    SIMGPU_FN To double_name##_ru(double x) { return simgpu::saturate<To>(ceil(x)); }
SIMGPU_TO_INTEGER(int, __float2int, __double2int)
SIMGPU_TO_INTEGER(unsigned int, __float2uint, __double2uint)
SIMGPU_TO_INTEGER(long long, __float2ll, __double2ll)
SIMGPU_TO_INTEGER(unsigned long long, __float2ull, __double2ull)
#undef SIMGPU_TO_INTEGER
#define SIMGPU_FROM(T, name)                                                                     \
    SIMGPU_FN float __##name##2float_rn(T x) { return (float)x; }                                \
    SIMGPU_FN double __##name##2double_rn(T x) { return (double)x; }
SIMGPU_FROM(int, int) SIMGPU_FROM(unsigned int, uint) SIMGPU_FROM(long long, ll) SIMGPU_FROM(unsigned long long, ull)
#undef SIMGPU_FROM
SIMGPU_FN float __double2float_rn(double x) { return (float)x; }

// Cycles: they go on a little at each question, so that a loop that waits for some ends.
using clock_t = long;
SIMGPU_FN long long clock64() { static long long cycles; return cycles += 64; }
SIMGPU_FN clock_t clock() { return (clock_t)clock64(); }

// ---- memory -------------------------------------------------------------------------------------

#define SIMGPU_CACHED(load, store)                                                               \
    template <class T> SIMGPU_FN T load(const T *p) { return *p; }                               \
    template <class T> SIMGPU_FN void store(T *p, T value) { *p = value; }
SIMGPU_CACHED(__ldca, __stwb) SIMGPU_CACHED(__ldcg, __stcg) SIMGPU_CACHED(__ldcs, __stcs) SIMGPU_CACHED(__ldcv, __stwt)
#undef SIMGPU_CACHED
template <class T> SIMGPU_FN T __ldg(const T *p) { return *p; }

// One host thread runs every device thread, so an atomic is a read and a write. Each returns the
// value that was there before.
#define SIMGPU_ATOMIC(T, name, expression)                                                       \
    SIMGPU_FN T name(T *address, T value) {                                                      \
        const T old = *address;                                                                  \
        *address = (T)(expression);                                                              \
        return old;                                                                              \
    }
#define SIMGPU_ATOMIC_INTEGER(T)                                                                 \
    SIMGPU_ATOMIC(T, atomicAnd, old & value)                                                     \
    SIMGPU_ATOMIC(T, atomicOr, old | value)                                                      \
    SIMGPU_ATOMIC(T, atomicXor, old ^ value)                                                     \
    SIMGPU_ATOMIC(T, atomicMax, old > value ? old : value)                                       \
    SIMGPU_ATOMIC(T, atomicMin, old < value ? old : value)
#define SIMGPU_ATOMIC_CAS(T)                                                                     \
    SIMGPU_FN T atomicCAS(T *address, T compare, T value) {                                      \
        const T old = *address;                                                                  \
        if (old == compare) *address = value;                                                    \
        return old;                                                                              \
    }
SIMGPU_ATOMIC(int, atomicAdd, (unsigned int)old + (unsigned int)value)
SIMGPU_ATOMIC(unsigned int, atomicAdd, old + value)
SIMGPU_ATOMIC(unsigned long long, atomicAdd, old + value)
SIMGPU_ATOMIC(float, atomicAdd, old + value)
SIMGPU_ATOMIC(double, atomicAdd, old + value)
SIMGPU_ATOMIC(int, atomicSub, (unsigned int)old - (unsigned int)value)
SIMGPU_ATOMIC(unsigned int, atomicSub, old - value)
SIMGPU_ATOMIC(int, atomicExch, value)
SIMGPU_ATOMIC(unsigned int, atomicExch, value)
SIMGPU_ATOMIC(unsigned long long, atomicExch, value)
SIMGPU_ATOMIC(float, atomicExch, value)
SIMGPU_ATOMIC(unsigned int, atomicInc, old >= value ? 0 : old + 1)
SIMGPU_ATOMIC(unsigned int, atomicDec, old == 0 || old > value ? value : old - 1)
SIMGPU_ATOMIC_INTEGER(int)
SIMGPU_ATOMIC_INTEGER(unsigned int)
SIMGPU_ATOMIC_INTEGER(long long)
SIMGPU_ATOMIC_INTEGER(unsigned long long)
SIMGPU_ATOMIC_CAS(int)
SIMGPU_ATOMIC_CAS(unsigned int)
SIMGPU_ATOMIC_CAS(unsigned long long)
SIMGPU_ATOMIC_CAS(unsigned short)

// ---- what CuPy puts in front of an ElementwiseKernel --------------------------------------------

#ifdef SIMGPU_CUPY_HEADERS
#define M_PI 3.1415926535897932384626433832795
#define CUDART_INF_F __int_as_float(0x7f800000)
#define CUDART_NAN_F __int_as_float(0x7fffffff)
#define CUDART_INF __longlong_as_double(0x7ff0000000000000ULL)
#define CUDART_NAN __longlong_as_double((long long)0xfff8000000000000ULL)
#endif

#undef SIMGPU_ATOMIC
#undef SIMGPU_ATOMIC_INTEGER
#undef SIMGPU_ATOMIC_CAS
