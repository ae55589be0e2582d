// What CuPy's own Thrust code, compiled for GPUs, does: sort, argsort, lexsort. NaNs go last.
#include <numeric>

namespace sim {
namespace {
template <class T> bool is_nan(T x) { return x != x; }
template <class R> bool is_nan(std::complex<R> x) { return is_nan(x.real()) || is_nan(x.imag()); }
template <class T> bool before(T a, T b) { return a < b; }
template <class R> bool before(std::complex<R> a, std::complex<R> b) {
    return a.real() < b.real() || (a.real() == b.real() && a.imag() < b.imag());
}
struct Less {
    template <class T> bool operator()(T a, T b) const { return is_nan(a) || is_nan(b) ? !is_nan(a) : before(a, b); }
};
// A null pointer of the type that NumPy's character names; false for a type that cannot be sorted.
template <class F> bool with_type(char type, F f) {
    switch (type) {
        case 'b': f((int8_t *)0); break;
        case 'B': f((uint8_t *)0); break;
        case '?': f((bool *)0); break;
        case 'h': f((int16_t *)0); break;
        case 'H': f((uint16_t *)0); break;
        case 'i': f((int32_t *)0); break;
        case 'I': f((uint32_t *)0); break;
        case 'l': case 'q': f((int64_t *)0); break;
        case 'L': case 'Q': f((uint64_t *)0); break;
        case 'e': f((_Float16 *)0); break;
        case 'f': f((float *)0); break;
        case 'd': f((double *)0); break;
        case 'F': f((std::complex<float> *)0); break;
        case 'D': f((std::complex<double> *)0); break;
        default: return false;
    }
    return true;
}
int sorted(void *stream, const char *name, char type, std::function<void()> work) {
    Stream *s = stream_of(stream);
    if (!with_type(type, [](auto *) {})) return NOT_SUPPORTED;
    if (s && !s->capture) counters[LAUNCHES]++;
    return submit(s, "kernel", name, [work] { return work(), (int)OK; });
}
}  // namespace
}  // namespace sim

API int sim_sort(char type, void *data, ptrdiff_t rows, ptrdiff_t length, void *stream) {
    return sim::sorted(stream, "thrust_sort", type, [=] {
        sim::with_type(type, [&](auto *none) {
            auto *x = (decltype(none))data;
            for (ptrdiff_t i = 0; i < rows * length; i += length) std::stable_sort(x + i, x + i + length, sim::Less());
        });
    });
}
API int sim_argsort(char type, size_t *order, const void *data, ptrdiff_t rows, ptrdiff_t length, void *stream) {
    return sim::sorted(stream, "thrust_argsort", type, [=] {
        sim::with_type(type, [&](auto *none) {
            for (ptrdiff_t i = 0; i < rows * length; i += length) {
                const auto *x = (decltype(none))data + i;
                std::iota(order + i, order + i + length, (size_t)0);
                std::stable_sort(order + i, order + i + length, [=](size_t a, size_t b) { return sim::Less()(x[a], x[b]); });
            }
        });
    });
}
API int sim_lexsort(char type, size_t *order, const void *keys, size_t count, size_t length, void *stream) {
    return sim::sorted(stream, "thrust_lexsort", type, [=] {
        std::iota(order, order + length, (size_t)0);
        sim::with_type(type, [&](auto *none) {
            for (size_t k = 0; k < count; ++k) {
                const auto *x = (decltype(none))keys + k * length;
                std::stable_sort(order, order + length, [=](size_t a, size_t b) { return sim::Less()(x[a], x[b]); });
            }
        });
    });
}
