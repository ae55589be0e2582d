// cuRAND's host functions, by a Mersenne twister: the right distributions, other numbers.
#include <random>

namespace sim {
namespace {
struct Generator {
    std::mt19937_64 engine;
    Stream *stream;
};
template <class T, class Draw> int draw(Generator *g, T *out, size_t count, Draw one) {
    if (!g->stream->capture) counters[LAUNCHES]++;
    return submit(g->stream, "kernel", "curand", [=]() mutable {
        if (!is_live(out, count * sizeof(T))) return (int)ILLEGAL_ADDRESS;
        for (size_t i = 0; i < count; ++i) out[i] = (T)one(g->engine);
        return (int)OK;
    }) ? 201 : 0;  // CURAND_STATUS_LAUNCH_FAILURE
}
double above_zero(std::mt19937_64 &engine, int bits) {  // (0, 1], as cuRAND's
    return std::ldexp((double)((engine() >> (64 - bits)) + 1), -bits);
}
}  // namespace
}  // namespace sim

using sim::Generator;
using sim::draw;
API int curandGetVersion(int *version) { return *version = 10400, 0; }
API int curandCreateGenerator(Generator **out, int) {
    *out = new Generator{std::mt19937_64(0), sim::stream_of(nullptr)};
    return sim::active ? 0 : 203;  // CURAND_STATUS_INITIALIZATION_FAILED
}
API int curandDestroyGenerator(Generator *g) { return delete g, 0; }
API int curandSetStream(Generator *g, void *stream) {
    sim::Stream *s = sim::stream_of(stream);
    if (s == nullptr) return 101;
    g->stream = s;
    return 0;
}
API int curandSetPseudoRandomGeneratorSeed(Generator *g, unsigned long long seed) { return g->engine.seed(seed), 0; }
API int curandSetGeneratorOffset(Generator *g, unsigned long long n) { return g->engine.discard(n % 1000000), 0; }
API int curandSetGeneratorOrdering(Generator *, int) { return 0; }
API int curandGenerate(Generator *g, unsigned *out, size_t n) { return draw(g, out, n, [](auto &e) { return (unsigned)e(); }); }
API int curandGenerateLongLong(Generator *g, unsigned long long *out, size_t n) { return draw(g, out, n, [](auto &e) { return e(); }); }
API int curandGenerateUniform(Generator *g, float *out, size_t n) { return draw(g, out, n, [](auto &e) { return sim::above_zero(e, 24); }); }
API int curandGenerateUniformDouble(Generator *g, double *out, size_t n) { return draw(g, out, n, [](auto &e) { return sim::above_zero(e, 53); }); }
API int curandGenerateNormal(Generator *g, float *out, size_t n, float mean, float spread) { return draw(g, out, n, std::normal_distribution<float>(mean, spread)); }
API int curandGenerateNormalDouble(Generator *g, double *out, size_t n, double mean, double spread) { return draw(g, out, n, std::normal_distribution<double>(mean, spread)); }
API int curandGenerateLogNormal(Generator *g, float *out, size_t n, float mean, float spread) { return draw(g, out, n, std::lognormal_distribution<float>(mean, spread)); }
API int curandGenerateLogNormalDouble(Generator *g, double *out, size_t n, double mean, double spread) { return draw(g, out, n, std::lognormal_distribution<double>(mean, spread)); }
API int curandGeneratePoisson(Generator *g, unsigned *out, size_t n, double rate) { return draw(g, out, n, std::poisson_distribution<unsigned>(rate)); }
