// cuBLAS on the streams of the simulated GPU: every function that CuPy calls, column by column.
// Products are OpenBLAS's, the copy that comes with NumPy; where there is none, and for the small
// functions, plain loops. The order of summation is not cuBLAS's.
#include <algorithm>
#include <cmath>
#include <complex>
#include <dlfcn.h>

namespace sim {
namespace {
using cf = std::complex<float>;
using cd = std::complex<double>;
using ll = long long;

enum Status { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, BAD_VALUE = 7, EXECUTION_FAILED = 13, UNSUPPORTED = 15 };

struct Handle { Stream *stream; void *raw; size_t workspace; int pointer_mode, math_mode; };
std::set<Handle *> handles;
void *openblas;

Handle *handle_of(void *handle) {
    std::lock_guard<std::recursive_mutex> hold(registry);
    auto it = handles.find((Handle *)handle);
    return it == handles.end() ? nullptr : *it;
}

// One launch on the handle's stream. In a capture the library may not allocate its workspace.
int put_checked(void *handle, const char *name, bool needs_workspace, Work work) {
    Handle *h = handle_of(handle);
    if (h == nullptr) return NOT_INITIALIZED;
    const bool recorded = h->stream->capture != nullptr;
    if (recorded && needs_workspace && h->workspace == 0) return ALLOC_FAILED;
    if (!recorded) counters[LAUNCHES]++;
    return submit(h->stream, "kernel", name, work) ? EXECUTION_FAILED : SUCCESS;
}
int put(void *handle, const char *name, bool needs_workspace, std::function<void()> work) {
    return put_checked(handle, name, needs_workspace, [work] { return work(), (int)OK; });
}

// A number that lies on the host, to be read now, or on the device, to be read when the work runs.
template <class T> struct Scalar {
    const T *at;
    bool later;
    T now;
    T get() const { return later ? *at : now; }
};
template <class T> Scalar<T> scalar(void *handle, const void *at) {
    const Handle *h = handle_of(handle);
    const bool later = h && h->pointer_mode == 1;
    return {(const T *)at, later, later || at == nullptr ? T() : *(const T *)at};
}
// Results go to the host (then the caller waits for them) or to the device.
int finished(void *handle, int status) {
    const Handle *h = handle_of(handle);
    return status == SUCCESS && h->pointer_mode == 0 ? drain(h->stream) ? EXECUTION_FAILED : SUCCESS : status;
}

float conj_if(float x, bool) { return x; }
double conj_if(double x, bool) { return x; }
cf conj_if(cf x, bool yes) { return yes ? std::conj(x) : x; }
cd conj_if(cd x, bool yes) { return yes ? std::conj(x) : x; }
template <class T> T times(T a, T b) { return a == T(0) ? T(0) : a * b; }  // 0 times NaN is not read

// An operand read as cuBLAS is told: 0 as it lies, 1 transposed, 2 and conjugated.
template <class T> T element(const T *a, ll ld, int op, ll i, ll j) {
    return op == 0 ? a[i + j * ld] : conj_if(a[j + i * ld], op == 2);
}

// ---- products -----------------------------------------------------------------------------------

template <class T> void plain_gemm(int ta, int tb, ll m, ll n, ll k, T alpha, const T *a, ll lda, const T *b, ll ldb, T beta, T *c, ll ldc) {
    for (ll j = 0; j < n; ++j)
        for (ll i = 0; i < m; ++i) {
            T sum = 0;
            for (ll l = 0; l < k; ++l) sum += element(a, lda, ta, i, l) * element(b, ldb, tb, l, j);
            c[i + j * ldc] = times(alpha, sum) + times(beta, c[i + j * ldc]);
        }
}
// OpenBLAS takes real factors by value and complex ones by address.
template <class T, class F> bool library_gemm(const char *name, int ta, int tb, ll m, ll n, ll k, F alpha, const T *a, ll lda, const T *b, ll ldb, F beta, T *c, ll ldc) {
    using Function = void (*)(int, int, int, ll, ll, ll, F, const T *, ll, const T *, ll, F, T *, ll);
    auto f = openblas ? (Function)dlsym(openblas, name) : nullptr;
    if (f == nullptr) return false;
    // On a busy machine its threads wait for each other, in small products longer than they compute.
    static auto threads = (int (*)(int))dlsym(openblas, "openblas_set_num_threads_local");
    const bool alone = threads && (double)m * n * k < 1e8;
    const int before = alone ? threads(1) : 0;
    f(102, 111 + ta, 111 + tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    if (alone) threads(before);
    return true;
}
#define GEMM(T, name, F, pass)                                                                                           \
    void gemm(int ta, int tb, ll m, ll n, ll k, T alpha, const T *a, ll lda, const T *b, ll ldb, T beta, T *c, ll ldc) { \
        if (!library_gemm<T, F>("scipy_cblas_" name "64_", ta, tb, m, n, k, pass alpha, a, lda, b, ldb, pass beta, c, ldc)) \
            plain_gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);                                            \
    }
GEMM(float, "sgemm", float, ) GEMM(double, "dgemm", double, )
GEMM(cf, "cgemm", const void *, &) GEMM(cd, "zgemm", const void *, &)

// CUDA's numbers of the types, and of what a product computes in.
enum Type { R32 = 0, R64 = 1, R16 = 2, C32 = 4, C64 = 5, BF16 = 14 };
enum Compute { IN_16 = 64, IN_32 = 68, IN_64 = 70, IN_64_PEDANTIC = 71, FAST_16 = 74, FAST_BF16 = 75, FAST_TF32 = 77 };

size_t size_of(int type) {
    switch (type) {
        case R32: return 4;
        case R64: case C32: return 8;
        case R16: case BF16: return 2;
        case C64: return 16;
        default: return 0;
    }
}
float with_bits(float x, int bits) {  // rounded to that many of the mantissa's
    if (!std::isfinite(x)) return x;
    const int drop = 23 - bits;
    uint32_t word;
    memcpy(&word, &x, 4);
    word = (word + (1u << (drop - 1)) - 1 + (word >> drop & 1)) >> drop << drop;
    memcpy(&x, &word, 4);
    return x;
}
float load(const char *at, int type) {
    if (type == R32) return *(const float *)at;
    if (type == R16) return (float)*(const _Float16 *)at;
    const uint32_t word = (uint32_t) * (const uint16_t *)at << 16;
    float x;
    memcpy(&x, &word, 4);
    return x;
}
void store(char *at, float x, int type) {
    if (type == R32) *(float *)at = x;
    else if (type == R16) *(_Float16 *)at = (_Float16)x;
    else {
        x = with_bits(x, 7);
        memcpy(at, (const char *)&x + 2, 2);
    }
}
std::vector<float> floats(const char *at, int type, ll rows, ll columns, ll ld, int bits) {
    std::vector<float> all((size_t)(rows * columns));
    for (ll j = 0; j < columns; ++j)
        for (ll i = 0; i < rows; ++i) {
            const float x = load(at + (i + j * ld) * size_of(type), type);
            all[i + j * rows] = bits ? with_bits(x, bits) : x;
        }
    return all;
}

struct Matrix { const void *at; int type; ll ld, step; };

template <class T> void multiply(int ta, int tb, ll m, ll n, ll k, cd alpha, Matrix a, Matrix b, cd beta, Matrix c, ll count) {
    const auto number = [](cd x) {
        if constexpr (std::is_same_v<T, cf> || std::is_same_v<T, cd>) return T(x);
        else return T(x.real());
    };
    for (ll i = 0; i < count; ++i)
        gemm(ta, tb, m, n, k, number(alpha), (const T *)a.at + i * a.step, a.ld, (const T *)b.at + i * b.step, b.ld, number(beta),
             (T *)c.at + i * c.step, c.ld);
}
// With fewer bits than float: operands are rounded, sums are float, the result is rounded once.
void multiply_short(int ta, int tb, ll m, ll n, ll k, cd alpha, Matrix a, Matrix b, cd beta, Matrix c, ll count, int bits) {
    const ll ra = ta ? k : m, rb = tb ? n : k;
    for (ll i = 0; i < count; ++i) {
        const auto x = floats((const char *)a.at + i * a.step * size_of(a.type), a.type, ra, ta ? m : k, a.ld, bits);
        const auto y = floats((const char *)b.at + i * b.step * size_of(b.type), b.type, rb, tb ? k : n, b.ld, bits);
        char *out = (char *)c.at + i * c.step * size_of(c.type);
        auto z = beta == 0.0 ? std::vector<float>((size_t)(m * n)) : floats(out, c.type, m, n, c.ld, 0);
        gemm(ta, tb, m, n, k, (float)alpha.real(), x.data(), std::max<ll>(ra, 1), y.data(), std::max<ll>(rb, 1), (float)beta.real(), z.data(), std::max<ll>(m, 1));
        for (ll j = 0; j < n; ++j)
            for (ll l = 0; l < m; ++l) store(out + (l + j * c.ld) * size_of(c.type), z[l + j * m], c.type);
    }
}
cd read(const void *at, int type) {
    switch (type) {
        case R64: return *(const double *)at;
        case C32: return *(const cf *)at;
        case C64: return *(const cd *)at;
        default: return load((const char *)at, type);
    }
}
// What goes together in cublasGemmEx (its documentation has the table).
bool suits(int a, int b, int c, int compute) {
    if (a != b || !(a == c || (c == R32 && (a == R16 || a == BF16)))) return false;
    if (c == R64 || c == C64) return compute == IN_64 || compute == IN_64_PEDANTIC;
    const bool short_floats = a == R16 && c == R16 && (compute == IN_16 || compute == IN_16 + 1);
    const bool fast = a == c && (compute == FAST_16 || compute == FAST_BF16 || compute == FAST_TF32);
    return compute == IN_32 || compute == IN_32 + 1 || short_floats || fast;
}
bool is_algorithm(int number) { return (number >= -1 && number < 24) || (number >= 99 && number < 116); }

// Whether all that a product reads or writes of a matrix is device memory.
bool is_there(Matrix x, ll rows, ll columns, ll count) {
    if (!rows || !columns) return true;
    const size_t bytes = ((columns - 1) * x.ld + rows + std::max<ll>(x.step, 0) * (count - 1)) * size_of(x.type);
    return is_live(x.at, bytes);
}
bool overlap(Matrix a, ll rows_a, ll columns_a, Matrix c, ll m, ll n) {
    const auto end = [](Matrix x, ll rows, ll columns) { return (const char *)x.at + ((columns - 1) * x.ld + rows) * size_of(x.type); };
    return rows_a && columns_a && a.at < end(c, m, n) && c.at < end(a, rows_a, columns_a);
}
int product(void *handle, const char *name, int ta, int tb, ll m, ll n, ll k, const void *alpha, Matrix a, Matrix b, const void *beta,
            Matrix c, ll count, int compute, int factor) {
    Handle *h = handle_of(handle);
    if (h == nullptr) return NOT_INITIALIZED;
    if (m < 0 || n < 0 || k < 0 || count < 0 || !alpha || !beta || ta > 2 || tb > 2 || ta < 0 || tb < 0) return BAD_VALUE;
    if (a.ld < std::max<ll>(1, ta ? k : m) || b.ld < std::max<ll>(1, tb ? n : k) || c.ld < std::max<ll>(1, m)) return BAD_VALUE;
    if (!size_of(a.type) || !size_of(b.type) || !size_of(c.type)) return UNSUPPORTED;
    if (!m || !n || !count) return SUCCESS;
    if (!a.at || !b.at || !c.at) return BAD_VALUE;
    const auto there = [=] {
        return is_there(a, ta ? k : m, ta ? m : k, count) && is_there(b, tb ? n : k, tb ? k : n, count) && is_there(c, m, n, count);
    };
    if (!there()) return EXECUTION_FAILED;
    if (k && (overlap(a, ta ? k : m, ta ? m : k, c, m, n) || overlap(b, tb ? n : k, tb ? k : n, c, m, n)) && count == 1)
        return EXECUTION_FAILED;  // which on a GPU gives wrong numbers
    if (a.type == R32 && h->math_mode == 3 && compute == 0) compute = FAST_TF32;
    const int bits = compute == FAST_TF32 || compute == FAST_16 ? 10 : compute == FAST_BF16 ? 7 : 0;
    const bool later = h->pointer_mode == 1;
    const cd x = later ? 0 : read(alpha, factor), y = later ? 0 : read(beta, factor);
    return put_checked(handle, name, true, [=] {
        if (!there()) return fail(ILLEGAL_ADDRESS, "%s: a matrix is not (or no longer) device memory", name);
        const cd al = later ? read(alpha, factor) : x, be = later ? read(beta, factor) : y;
        if (c.type == R64) multiply<double>(ta, tb, m, n, k, al, a, b, be, c, count);
        else if (c.type == C32) multiply<cf>(ta, tb, m, n, k, al, a, b, be, c, count);
        else if (c.type == C64) multiply<cd>(ta, tb, m, n, k, al, a, b, be, c, count);
        else if (a.type == R32 && b.type == R32 && c.type == R32 && !bits) multiply<float>(ta, tb, m, n, k, al, a, b, be, c, count);
        else multiply_short(ta, tb, m, n, k, al, a, b, be, c, count, bits);
        return (int)OK;
    });
}
int factor_of(int compute, int type) {  // the type of alpha and beta
    if (compute == IN_16) return R16;
    if (type == C32 || type == C64) return type;
    return compute == IN_64 || compute == IN_64_PEDANTIC || type == R64 ? R64 : R32;
}

// ---- the rest -----------------------------------------------------------------------------------

// Solves op(A) X = alpha B (left) or X op(A) = alpha B, in place.
template <class T> void trsm(int side, int uplo, int op, int diag, int m, int n, T alpha, const T *a, ll lda, T *b, ll ldb) {
    const int order = side == 0 ? m : n, count = side == 0 ? n : m;
    const bool lower = (uplo == 0) == (op == 0), forward = lower == (side == 0);
    const auto x = [&](int i, int j) -> T & { return side == 0 ? b[i + j * ldb] : b[j + i * ldb]; };
    const auto of_a = [&](int i, int j) { return side == 0 ? element(a, lda, op, i, j) : element(a, lda, op, j, i); };
    for (int j = 0; j < count; ++j)
        for (int s = 0; s < order; ++s) {
            const int i = forward ? s : order - 1 - s;
            T sum = alpha * x(i, j);
            for (int r = 0; r < s; ++r) sum -= of_a(i, forward ? r : order - 1 - r) * x(forward ? r : order - 1 - r, j);
            x(i, j) = diag == 1 ? sum : sum / of_a(i, i);
        }
}
template <class T> double size_in_sum(T x) { return std::abs(x); }
template <class R> double size_in_sum(std::complex<R> x) { return std::abs(x.real()) + std::abs(x.imag()); }

}  // namespace
}  // namespace sim

using sim::cd;
using sim::cf;
using sim::ll;

API int sim_set_blas(const char *path) { return (sim::openblas = dlopen(path, RTLD_NOW | RTLD_LOCAL)) != nullptr; }

#define HANDLE(handle)                            \
    sim::Handle *h = sim::handle_of(handle);      \
    if (h == nullptr) return sim::NOT_INITIALIZED
API int cublasCreate_v2(void **out) {
    if (out == nullptr) return sim::BAD_VALUE;
    if (!sim::active) return sim::NOT_INITIALIZED;
    if (sim::refuse_unsafe()) return sim::ALLOC_FAILED;
    std::lock_guard<std::recursive_mutex> hold(sim::registry);
    auto *made = new sim::Handle{sim::stream_of(nullptr), nullptr, 0, 0, 0};
    sim::handles.insert(made);
    *out = made;
    return sim::SUCCESS;
}
API int cublasDestroy_v2(void *handle) {
    std::lock_guard<std::recursive_mutex> hold(sim::registry);
    return sim::handles.erase((sim::Handle *)handle) ? sim::SUCCESS : sim::NOT_INITIALIZED;
}
API int cublasSetStream_v2(void *handle, void *stream) {
    HANDLE(handle);
    sim::Stream *s = sim::stream_of(stream);
    if (s == nullptr) return sim::EXECUTION_FAILED;
    h->stream = s;
    h->raw = stream;
    h->workspace = 0;  // as the library does: to its own, which it allocates
    return sim::SUCCESS;
}
API int cublasGetStream_v2(void *handle, void **stream) { HANDLE(handle); return *stream = h->raw, sim::SUCCESS; }
API int cublasSetWorkspace_v2(void *handle, void *at, size_t bytes) {
    HANDLE(handle);
    if ((uintptr_t)at % 256) return sim::BAD_VALUE;
    if (at && !sim::is_live(at, bytes)) return sim::EXECUTION_FAILED;
    h->workspace = at ? bytes : 0;
    return sim::SUCCESS;
}
API int cublasSetPointerMode_v2(void *handle, int mode) { HANDLE(handle); return h->pointer_mode = mode, sim::SUCCESS; }
API int cublasGetPointerMode_v2(void *handle, int *mode) { HANDLE(handle); return *mode = h->pointer_mode, sim::SUCCESS; }
API int cublasSetMathMode(void *handle, int mode) {
    HANDLE(handle);
    if ((mode & 15) > 3 || mode & ~31) return sim::BAD_VALUE;
    h->math_mode = mode & 15;
    return sim::SUCCESS;
}
API int cublasGetMathMode(void *handle, int *mode) { HANDLE(handle); return *mode = h->math_mode, sim::SUCCESS; }
API int cublasGetVersion_v2(void *, int *version) { return *version = 130000, sim::SUCCESS; }

API int cublasGemmEx(void *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, const void *b, int bt,
                     int ldb, const void *beta, void *c, int ct, int ldc, int compute, int algorithm) {
    if (!sim::is_algorithm(algorithm)) return sim::BAD_VALUE;
    if (!sim::suits(at, bt, ct, compute)) return sim::UNSUPPORTED;
    return sim::product(h, "cublasGemmEx", ta, tb, m, n, k, alpha, {a, at, lda, 0}, {b, bt, ldb, 0}, beta, {c, ct, ldc, 0}, 1, compute, sim::factor_of(compute, ct));
}
API int cublasGemmStridedBatchedEx(void *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, ll as,
                                   const void *b, int bt, int ldb, ll bs, const void *beta, void *c, int ct, int ldc, ll cs, int count,
                                   int compute, int algorithm) {
    if (!sim::is_algorithm(algorithm)) return sim::BAD_VALUE;
    if (!sim::suits(at, bt, ct, compute)) return sim::UNSUPPORTED;
    return sim::product(h, "cublasGemmStridedBatchedEx", ta, tb, m, n, k, alpha, {a, at, lda, as}, {b, bt, ldb, bs}, beta, {c, ct, ldc, cs}, count, compute, sim::factor_of(compute, ct));
}
API int cublasSgemmEx(void *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, const void *b, int bt,
                      int ldb, const void *beta, void *c, int ct, int ldc) {
    return sim::product(h, "cublasSgemmEx", ta, tb, m, n, k, alpha, {a, at, lda, 0}, {b, bt, ldb, 0}, beta, {c, ct, ldc, 0}, 1, 0, sim::R32);
}

// One set of functions for each type: S, D, C, Z.
#define TYPED(L, T, TYPE)                                                                                                                    \
    API int cublas##L##gemm_v2(void *h, int ta, int tb, int m, int n, int k, const void *al, const void *a, int lda, const void *b, int ldb, \
                               const void *be, void *c, int ldc) {                                                                           \
        return sim::product(h, "cublas" #L "gemm", ta, tb, m, n, k, al, {a, TYPE, lda, 0}, {b, TYPE, ldb, 0}, be, {c, TYPE, ldc, 0}, 1, 0, TYPE); \
    }                                                                                                                                        \
    API int cublas##L##gemmStridedBatched(void *h, int ta, int tb, int m, int n, int k, const void *al, const void *a, int lda, ll as,       \
                                          const void *b, int ldb, ll bs, const void *be, void *c, int ldc, ll cs, int count) {               \
        return sim::product(h, "cublas" #L "gemmStridedBatched", ta, tb, m, n, k, al, {a, TYPE, lda, as}, {b, TYPE, ldb, bs}, be,            \
                            {c, TYPE, ldc, cs}, count, 0, TYPE);                                                                             \
    }                                                                                                                                        \
    API int cublas##L##gemmBatched(void *h, int ta, int tb, int m, int n, int k, const void *al, const T *const *a, int lda,                 \
                                   const T *const *b, int ldb, const void *be, T *const *c, int ldc, int count) {                            \
        const auto alpha = sim::scalar<T>(h, al), beta = sim::scalar<T>(h, be);                                                              \
        return sim::put(h, "cublas" #L "gemmBatched", true, [=] {                                                                            \
            for (int i = 0; i < count; ++i) sim::gemm(ta, tb, m, n, k, alpha.get(), a[i], lda, b[i], ldb, beta.get(), c[i], ldc);            \
        });                                                                                                                                  \
    }                                                                                                                                        \
    API int cublas##L##trsm_v2(void *h, int side, int uplo, int op, int diag, int m, int n, const void *al, const T *a, int lda, T *b, int ldb) { \
        const auto alpha = sim::scalar<T>(h, al);                                                                                            \
        return sim::put(h, "cublas" #L "trsm", true, [=] { sim::trsm(side, uplo, op, diag, m, n, alpha.get(), a, lda, b, ldb); });           \
    }                                                                                                                                        \
    API int cublas##L##trsmBatched(void *h, int side, int uplo, int op, int diag, int m, int n, const void *al, T *const *a, int lda,        \
                                   T *const *b, int ldb, int count) {                                                                        \
        const auto alpha = sim::scalar<T>(h, al);                                                                                            \
        return sim::put(h, "cublas" #L "trsmBatched", true, [=] {                                                                            \
            for (int i = 0; i < count; ++i) sim::trsm(side, uplo, op, diag, m, n, alpha.get(), (const T *)a[i], lda, b[i], ldb);             \
        });                                                                                                                                  \
    }                                                                                                                                        \
    API int cublas##L##geam(void *h, int ta, int tb, int m, int n, const void *al, const T *a, int lda, const void *be, const T *b, int ldb, \
                            T *c, int ldc) {                                                                                                 \
        const auto alpha = sim::scalar<T>(h, al), beta = sim::scalar<T>(h, be);                                                              \
        return sim::put(h, "cublas" #L "geam", false, [=] {                                                                                  \
            const T x = alpha.get(), y = beta.get();                                                                                         \
            for (int j = 0; j < n; ++j)                                                                                                      \
                for (int i = 0; i < m; ++i)                                                                                                  \
                    c[i + (ll)j * ldc] = (x == T(0) ? T(0) : x * sim::element(a, lda, ta, i, j)) + (y == T(0) ? T(0) : y * sim::element(b, ldb, tb, i, j)); \
        });                                                                                                                                  \
    }                                                                                                                                        \
    API int cublas##L##dgmm(void *h, int side, int m, int n, const T *a, int lda, const T *x, int step, T *c, int ldc) {                     \
        return sim::put(h, "cublas" #L "dgmm", false, [=] {                                                                                  \
            for (int j = 0; j < n; ++j)                                                                                                      \
                for (int i = 0; i < m; ++i) c[i + (ll)j * ldc] = a[i + (ll)j * lda] * x[(ll)(side == 0 ? i : j) * step];                     \
        });                                                                                                                                  \
    }                                                                                                                                        \
    API int cublas##L##syrk_v2(void *h, int uplo, int op, int n, int k, const void *al, const T *a, int lda, const void *be, T *c, int ldc) { \
        const auto alpha = sim::scalar<T>(h, al), beta = sim::scalar<T>(h, be);                                                              \
        return sim::put(h, "cublas" #L "syrk", true, [=] {                                                                                   \
            for (int j = 0; j < n; ++j)                                                                                                      \
                for (int i = uplo == 0 ? j : 0; i < (uplo == 0 ? n : j + 1); ++i) {                                                          \
                    T sum = 0;                                                                                                               \
                    for (int l = 0; l < k; ++l) sum += op == 0 ? a[i + (ll)l * lda] * a[j + (ll)l * lda] : a[l + (ll)i * lda] * a[l + (ll)j * lda]; \
                    c[i + (ll)j * ldc] = alpha.get() * sum + sim::times(beta.get(), c[i + (ll)j * ldc]);                                     \
                }                                                                                                                            \
        });                                                                                                                                  \
    }                                                                                                                                        \
    API int cublas##L##gemv_v2(void *h, int op, int m, int n, const void *al, const T *a, int lda, const T *x, int ix, const void *be, T *y, int iy) { \
        const auto alpha = sim::scalar<T>(h, al), beta = sim::scalar<T>(h, be);                                                              \
        return sim::put(h, "cublas" #L "gemv", true, [=] {                                                                                   \
            for (int i = 0; i < (op ? n : m); ++i) {                                                                                         \
                T sum = 0;                                                                                                                   \
                for (int j = 0; j < (op ? m : n); ++j) sum += sim::element(a, lda, op, i, j) * x[(ll)j * ix];                                \
                y[(ll)i * iy] = alpha.get() * sum + sim::times(beta.get(), y[(ll)i * iy]);                                                   \
            }                                                                                                                                \
        });                                                                                                                                  \
    }                                                                                                                                        \
    static int ger_##L(void *h, int m, int n, const void *al, const T *x, int ix, const T *y, int iy, T *a, int lda, bool conjugate) {       \
        const auto alpha = sim::scalar<T>(h, al);                                                                                            \
        return sim::put(h, "cublas" #L "ger", false, [=] {                                                                                   \
            for (int j = 0; j < n; ++j)                                                                                                      \
                for (int i = 0; i < m; ++i) a[i + (ll)j * lda] += alpha.get() * x[(ll)i * ix] * sim::conj_if(y[(ll)j * iy], conjugate);      \
        });                                                                                                                                  \
    }                                                                                                                                        \
    static int dot_##L(void *h, int n, const T *x, int ix, const T *y, int iy, T *out, bool conjugate) {                                     \
        return sim::finished(h, sim::put(h, "cublas" #L "dot", false, [=] {                                                                  \
            T sum = 0;                                                                                                                       \
            for (int i = 0; i < n; ++i) sum += sim::conj_if(x[(ll)i * ix], conjugate) * y[(ll)i * iy];                                       \
            *out = sum;                                                                                                                      \
        }));                                                                                                                                 \
    }                                                                                                                                        \
    API int cublas##L##scal_v2(void *h, int n, const void *al, T *x, int ix) {                                                               \
        const auto alpha = sim::scalar<T>(h, al);                                                                                            \
        return sim::put(h, "cublas" #L "scal", false, [=] { for (int i = 0; i < n; ++i) x[(ll)i * ix] *= alpha.get(); });                    \
    }                                                                                                                                        \
    API int cublas##L##axpy_v2(void *h, int n, const void *al, const T *x, int ix, T *y, int iy) {                                           \
        const auto alpha = sim::scalar<T>(h, al);                                                                                            \
        return sim::put(h, "cublas" #L "axpy", false, [=] { for (int i = 0; i < n; ++i) y[(ll)i * iy] += alpha.get() * x[(ll)i * ix]; });    \
    }                                                                                                                                        \
    static int extreme_##L(void *h, int n, const T *x, int ix, int *out, bool largest) {                                                     \
        return sim::finished(h, sim::put(h, "cublasI" #L "amax", false, [=] {                                                                \
            int best = 0;                                                                                                                    \
            for (int i = 1; i < n; ++i) {                                                                                                    \
                const double a = sim::size_in_sum(x[(ll)i * ix]), b = sim::size_in_sum(x[(ll)best * ix]);                                    \
                if (largest ? a > b : a < b) best = i;                                                                                       \
            }                                                                                                                                \
            *out = n > 0 ? best + 1 : 0;                                                                                                     \
        }));                                                                                                                                 \
    }
TYPED(S, float, sim::R32) TYPED(D, double, sim::R64) TYPED(C, cf, sim::C32) TYPED(Z, cd, sim::C64)

#define DOT(name, L, T, conjugate) \
    API int name(void *h, int n, const T *x, int ix, const T *y, int iy, T *out) { return dot_##L(h, n, x, ix, y, iy, out, conjugate); }
DOT(cublasSdot_v2, S, float, false) DOT(cublasDdot_v2, D, double, false)
DOT(cublasCdotu_v2, C, cf, false) DOT(cublasCdotc_v2, C, cf, true) DOT(cublasZdotu_v2, Z, cd, false) DOT(cublasZdotc_v2, Z, cd, true)
#define GER(name, L, T, conjugate)                                                                                     \
    API int name(void *h, int m, int n, const void *al, const T *x, int ix, const T *y, int iy, T *a, int lda) {       \
        return ger_##L(h, m, n, al, x, ix, y, iy, a, lda, conjugate);                                                  \
    }
GER(cublasSger_v2, S, float, false) GER(cublasDger_v2, D, double, false)
GER(cublasCgeru_v2, C, cf, false) GER(cublasCgerc_v2, C, cf, true) GER(cublasZgeru_v2, Z, cd, false) GER(cublasZgerc_v2, Z, cd, true)
#define REDUCED(length, sum, T, R)                                                                                       \
    API int length(void *h, int n, const T *x, int ix, R *out) {                                                         \
        return sim::finished(h, sim::put(h, #length, false, [=] {                                                        \
            double all = 0;                                                                                            \
            for (int i = 0; i < n; ++i) all += std::norm(cd(x[(ll)i * ix]));                                           \
            *out = (R)std::sqrt(all);                                                                                  \
        }));                                                                                                           \
    }                                                                                                                  \
    API int sum(void *h, int n, const T *x, int ix, R *out) {                                                          \
        return sim::finished(h, sim::put(h, #sum, false, [=] {                                                         \
            double all = 0;                                                                                            \
            for (int i = 0; i < n; ++i) all += sim::size_in_sum(x[(ll)i * ix]);                                        \
            *out = (R)all;                                                                                             \
        }));                                                                                                           \
    }
REDUCED(cublasSnrm2_v2, cublasSasum_v2, float, float) REDUCED(cublasDnrm2_v2, cublasDasum_v2, double, double)
REDUCED(cublasScnrm2_v2, cublasScasum_v2, cf, float) REDUCED(cublasDznrm2_v2, cublasDzasum_v2, cd, double)
#define EXTREME(L, small, T)                                                                                                       \
    API int cublasI##small##amax_v2(void *h, int n, const T *x, int ix, int *out) { return extreme_##L(h, n, x, ix, out, true); } \
    API int cublasI##small##amin_v2(void *h, int n, const T *x, int ix, int *out) { return extreme_##L(h, n, x, ix, out, false); }
EXTREME(S, s, float) EXTREME(D, d, double) EXTREME(C, c, cf) EXTREME(Z, z, cd)
#define REAL_SCAL(name, T, R)                                                                                          \
    API int name(void *h, int n, const void *al, T *x, int ix) {                                                       \
        const auto alpha = sim::scalar<R>(h, al);                                                                      \
        return sim::put(h, #name, false, [=] { for (int i = 0; i < n; ++i) x[(ll)i * ix] *= alpha.get(); });           \
    }
REAL_SCAL(cublasCsscal_v2, cf, float) REAL_SCAL(cublasZdscal_v2, cd, double)

#define REFUSED(name) API int name() { return sim::UNSUPPORTED; }
#define REFUSED4(kind) REFUSED(cublasS##kind) REFUSED(cublasD##kind) REFUSED(cublasC##kind) REFUSED(cublasZ##kind)
REFUSED4(getrfBatched) REFUSED4(getriBatched) REFUSED4(getrsBatched)
REFUSED(cublasStpttr) REFUSED(cublasDtpttr) REFUSED(cublasStrttp) REFUSED(cublasDtrttp) REFUSED(cublasSsbmv_v2) REFUSED(cublasDsbmv_v2)
