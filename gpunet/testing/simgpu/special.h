// CUDA's special functions that C has not: each computed in double, and rounded once for a float.
#pragma once

extern "C" {
double j0(double) noexcept;
double j1(double) noexcept;
double jn(int, double) noexcept;
double y0(double) noexcept;
double y1(double) noexcept;
double yn(int, double) noexcept;
int ilogb(double) noexcept;
long long llrint(double) noexcept;
long long llround(double) noexcept;
}

namespace simgpu {
constexpr double infinity = __builtin_inf(), not_a_number = __builtin_nan("");

// The z >= 0 with erf(z) = p and erfc(z) = q, p + q = 1: Winitzki's formula, then Halley's steps.
inline double erf_inverse(double p, double q) {
    const double l = log(q * (2 - q)), t = 4.3307467508 + l / 2;  // 2 / (0.147 pi)
    double z = __builtin_sqrt(fmax(__builtin_sqrt(t * t - l / 0.147) - t, 0.0));
    for (int step = 0; step < 4; ++step) {
        const double error = p < 0.5 ? erf(z) - p : q - erfc(z);
        const double u = error / (1.1283791670955126 * exp(-z * z));  // 2 / sqrt(pi)
        z -= u / (1 + z * u);
    }
    return z;
}
// The modified Bessel function of order 0 or 1 by its series, whose terms have one sign.
inline double bessel_i(int order, double x) {
    double term = order == 0 ? 1 : x / 2, sum = term;
    for (int k = 1; __builtin_fabs(term) > __builtin_fabs(sum) * 1e-17; ++k)
        sum += term *= x / 2 / k * (x / 2 / (k + order));
    return sum;
}
}  // namespace simgpu

SIMGPU_FN double erfinv(double x) {
    const double p = __builtin_fabs(x);
    return p < 1 ? copysign(simgpu::erf_inverse(p, 1 - p), x) : p == 1 ? x * simgpu::infinity : simgpu::not_a_number;
}
SIMGPU_FN double erfcinv(double x) {
    if (!(x >= 0 && x <= 2)) return simgpu::not_a_number;
    if (x == 0 || x == 2) return x == 0 ? simgpu::infinity : -simgpu::infinity;
    return x <= 1 ? simgpu::erf_inverse(1 - x, x) : -simgpu::erf_inverse(x - 1, 2 - x);
}
SIMGPU_FN double normcdfinv(double x) { return -1.4142135623730951 * erfcinv(2 * x); }
SIMGPU_FN double erfcx(double x) {  // exp(x^2) erfc(x); of a large x as a continued fraction
    if (!(x > 2)) return exp(x * x) * erfc(x);
    double rest = 0;
    for (int k = 60; k > 0; --k) rest = 0.5 * k / (x + rest);
    return 0.5641895835477563 / (x + rest);
}
SIMGPU_FN double cyl_bessel_i0(double x) { return simgpu::bessel_i(0, x); }
SIMGPU_FN double cyl_bessel_i1(double x) { return simgpu::bessel_i(1, x); }
SIMGPU_FN double rhypot(double x, double y) { return 1 / hypot(x, y); }
SIMGPU_FN double norm3d(double x, double y, double z) { return hypot(hypot(x, y), z); }
SIMGPU_FN double rnorm3d(double x, double y, double z) { return 1 / norm3d(x, y, z); }
SIMGPU_FN double norm4d(double x, double y, double z, double w) { return hypot(norm3d(x, y, z), w); }
SIMGPU_FN double rnorm4d(double x, double y, double z, double w) { return 1 / norm4d(x, y, z, w); }

#define SIMGPU_SPECIAL(R, name)                                                                  \
    SIMGPU_FN R name##f(float x) { return (R)name((double)x); }                                  \
    SIMGPU_FN R name(float x) { return name##f(x); }
SIMGPU_SPECIAL(float, j0) SIMGPU_SPECIAL(float, j1) SIMGPU_SPECIAL(float, y0) SIMGPU_SPECIAL(float, y1)
SIMGPU_SPECIAL(float, erfinv) SIMGPU_SPECIAL(float, erfcinv) SIMGPU_SPECIAL(float, normcdfinv)
SIMGPU_SPECIAL(float, erfcx) SIMGPU_SPECIAL(float, cyl_bessel_i0) SIMGPU_SPECIAL(float, cyl_bessel_i1)
SIMGPU_SPECIAL(int, ilogb) SIMGPU_SPECIAL(long long, llrint) SIMGPU_SPECIAL(long long, llround)
#undef SIMGPU_SPECIAL
SIMGPU_FN float jnf(int n, float x) { return (float)jn(n, (double)x); }
SIMGPU_FN float ynf(int n, float x) { return (float)yn(n, (double)x); }
SIMGPU_FN float rhypotf(float x, float y) { return (float)rhypot((double)x, (double)y); }
SIMGPU_FN float norm3df(float x, float y, float z) { return (float)norm3d((double)x, (double)y, (double)z); }
SIMGPU_FN float norm4df(float x, float y, float z, float w) { return hypotf(norm3df(x, y, z), w); }
