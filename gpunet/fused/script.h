// What a script calls besides passes.h: NumPy's own products and functions, the small vectors of a
// BatchNorm, the loss, and the rows of a batch. `slots.h`, `flushing.h` and passes.h stand before this
// text; FLUSHES: whether a step has no subnormal numbers (gpunet/subnormals.py).

#define EVERY(n) _Pragma("GCC ivdep") for (ptrdiff_t i = 0; i < n; ++i)
enum { ROW_MAJOR = 101, AS_IT_IS = 111, TRANSPOSED = 112 };

typedef void (*Loop)(char **, const ptrdiff_t *, const ptrdiff_t *, void *);
struct Function {
    Loop loop;
    void *data;
};
static struct {
    void (*gemm)(int, int, int, ptrdiff_t, ptrdiff_t, ptrdiff_t, T, const T *, ptrdiff_t, const T *,
                 ptrdiff_t, T, T *, ptrdiff_t);
    void (*gemv)(int, int, ptrdiff_t, ptrdiff_t, T, const T *, ptrdiff_t, const T *, ptrdiff_t, T,
                 T *, ptrdiff_t);
    T (*dot)(ptrdiff_t, const T *, ptrdiff_t, const T *, ptrdiff_t);
    double (*dot_of_doubles)(ptrdiff_t, const double *, ptrdiff_t, const double *, ptrdiff_t);
    Function exp, log, tanh, add;
} numpy_;

extern "C" void gpunet_numpy(const void *addresses) {
    __builtin_memcpy(&numpy_, addresses, sizeof numpy_);
}

static inline void apply(Function f, ptrdiff_t n, T *from, T *to) {
    char *places[] = {(char *)from, (char *)to};
    const ptrdiff_t steps[] = {sizeof(T), sizeof(T)};
    f.loop(places, &n, steps, f.data);
}

// The sum of all elements.
static inline T sum(ptrdiff_t n, T *from) {
    T total = T(0);
    char *places[] = {(char *)&total, (char *)from, (char *)&total};
    const ptrdiff_t steps[] = {0, sizeof(T), 0};
    numpy_.add.loop(places, &n, steps, numpy_.add.data);
    return total;
}

PASS gpunet_gemm(int a_as, int b_as, ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const T *a,
                 ptrdiff_t a_step, const T *b, ptrdiff_t b_step, T *out, ptrdiff_t out_step) {
    numpy_.gemm(ROW_MAJOR, a_as, b_as, m, n, k, T(1), a, a_step, b, b_step, T(0), out, out_step);
}

// out = v a, or a v: a is (rows, columns).
PASS gpunet_gemv(int a_as, ptrdiff_t rows, ptrdiff_t columns, const T *a, const T *v, T *out) {
    numpy_.gemv(ROW_MAJOR, a_as, rows, columns, T(1), a, columns, v, 1, T(0), out, 1);
}

PASS gpunet_copied(ptrdiff_t n, const T *from, T *to) { __builtin_memcpy(to, from, n * sizeof(T)); }

PASS gpunet_zeroed(ptrdiff_t n, T *to) { EVERY(n) to[i] = T(0); }

PASS gpunet_relu(ptrdiff_t n, T *y) { EVERY(n) y[i] = relu(y[i]); }

PASS gpunet_tanh(ptrdiff_t n, T *y) { apply(numpy_.tanh, n, y, y); }

PASS gpunet_sigmoid(ptrdiff_t n, T *y) {
    EVERY(n) y[i] = -y[i];
    apply(numpy_.exp, n, y, y);
    EVERY(n) y[i] = T(1) / (y[i] + T(1));
}

// g times the slope at y, which is what dropout let through, `scale` times too large.
PASS gpunet_tanh_backward(ptrdiff_t n, T *g, const T *y, T scale) {
    EVERY(n) {
        const T own = y[i] / scale;
        g[i] = g[i] * (T(1) - own * own);
    }
}

PASS gpunet_sigmoid_backward(ptrdiff_t n, T *g, const T *y, T scale) {
    EVERY(n) {
        const T own = y[i] / scale;
        g[i] = g[i] * (own * (T(1) - own));
    }
}

// The 2-norm, taken in doubles.
PASS gpunet_norm(ptrdiff_t n, const T *g, double *wide, T *norm) {
    EVERY(n) wide[i] = g[i];
    norm[0] = T(__builtin_sqrt(numpy_.dot_of_doubles(n, wide, 1, wide, 1)));
}

// inv = 1 / sqrt(variance + eps)
PASS gpunet_inverse(ptrdiff_t n, const T *variance, T eps, T *inv) {
    EVERY(n) inv[i] = T(1) / sqrt(variance[i] + eps);
}

// running = keep running + take (value + b)
PASS gpunet_tracked(ptrdiff_t n, T *running, T keep, T take, const T *value, const T *b) {
    EVERY(n) running[i] = running[i] * keep + take * (b ? value[i] + b[i] : value[i]);
}

// What a BatchNorm's gradient takes a column: sums holds sum(g (z - mean)) and becomes gamma's.
PASS gpunet_shares(ptrdiff_t n, T rows, const T *sum_g, T *sums, const T *inv, const T *gamma,
                   T *slope, T *share, T *factor) {
    EVERY(n) {
        sums[i] = sums[i] * inv[i];
        slope[i] = inv[i] * sums[i] / rows;
        share[i] = sum_g[i] / rows;
        factor[i] = gamma[i] * inv[i];
    }
}

// The mean loss, after `shifted`; f becomes exp(f), and total what `pulled` multiplies with. With label
// smoothing `at_label` and `at_all` are the target's parts.
PASS gpunet_entropy(ptrdiff_t classes, ptrdiff_t rows, T *f, const T *chosen, const T *ones,
                    const T *of_classes, T *total, T *logs, T step, int smooth, T at_label,
                    T at_all, double *losses, const long long *counters) {
    T at_labels = numpy_.dot(rows, ones, 1, chosen, 1);
    if (smooth) at_labels = at_label * at_labels + at_all * sum(classes * rows, f);
    apply(numpy_.exp, classes * rows, f, f);
    gpunet_gemv(TRANSPOSED, classes, rows, f, of_classes, total);
    apply(numpy_.log, rows, total, logs);
    const T normal = numpy_.dot(rows, ones, 1, logs, 1);
    losses[counters[BATCH]] = (double(normal) - double(at_labels)) / rows;
    EVERY(rows) total[i] = step / total[i];
}

// After `pulled`, with label smoothing.
PASS gpunet_smoothed(ptrdiff_t classes, ptrdiff_t rows, T *f, const long long *labels, T at_label,
                     T at_all) {
    for (ptrdiff_t c = 0; c < rows; ++c) f[labels[c] * rows + c] += at_label;
    EVERY(classes * rows) f[i] -= at_all;
}

// The rows of `data` that come next, as T, times `scale` where that is not 1.
template <typename From>
static void gather(ptrdiff_t rows, ptrdiff_t width, const From *data, const long long *order,
                   T *to, T scale, const long long *counters) {
    for (ptrdiff_t r = 0; r < rows; ++r, to += width) {
        const From *row = data + order[counters[ROW] + r] * width;
        if (scale == T(1)) {
            EVERY(width) to[i] = T(row[i]);
        } else {
            EVERY(width) to[i] = T(row[i]) * scale;
        }
    }
}
#define GATHER(name, From)                                                                       \
    PASS gpunet_gathered_##name(ptrdiff_t rows, ptrdiff_t width, const From *data,               \
                                const long long *order, T *to, T scale,                          \
                                const long long *counters) {                                     \
        gather(rows, width, data, order, to, scale, counters);                                   \
    }                                                                                            \
    OP(gathered_##name)
GATHER(f4, float);
GATHER(f8, double);
GATHER(u1, unsigned char);
GATHER(i4, int);
GATHER(i8, long long);

PASS gpunet_labelled(ptrdiff_t rows, const long long *labels, const long long *order, long long *to,
                     const long long *counters) {
    for (ptrdiff_t r = 0; r < rows; ++r) to[r] = labels[order[counters[ROW] + r]];
}

OP(biased);
OP(squares);
OP(normalised);
OP(activated_backward);
OP(products);
OP(deviations);
OP(combined);
OP(dropped);
OP(shifted);
OP(shifted_alone);
OP(pulled);
OP(gemm);
OP(gemv);
OP(copied);
OP(zeroed);
OP(relu);
OP(tanh);
OP(sigmoid);
OP(tanh_backward);
OP(sigmoid_backward);
OP(norm);
OP(smoothed);
OP(inverse);
OP(tracked);
OP(shares);
OP(entropy);
OP(labelled);

// `steps` times all calls. counters: now, then next; `passed` is what a step adds.
PASS gpunet_run(const Slot *calls, const Slot *end, long long *counters, const long long *passed,
                ptrdiff_t steps) {
    const Flushing flushing(FLUSHES);
    for (ptrdiff_t step = 0; step < steps; ++step) {
        for (int k = 0; k < 4; ++k) {
            counters[k] = counters[4 + k];
            counters[4 + k] += passed[k];
        }
        for (const Slot *call = calls; call != end; call += 2 + call[1]) ((Op)call[0])(call + 2);
    }
}
