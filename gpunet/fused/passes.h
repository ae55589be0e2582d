// The functions of passes.py as loops: the same operations in the same order, each rounded alike, in
// one pass over memory. T is float or double; kernels/philox.cuh stands before this text.
//
// Arrays are (models, rows, columns), vectors have a row for each model, `step` elements apart.
#define PASS extern "C" void __attribute__((flatten))
#define SHAPE ptrdiff_t models, ptrdiff_t rows, ptrdiff_t columns
#define EACH_COLUMN _Pragma("GCC ivdep") for (ptrdiff_t c = 0; c < columns; ++c)

// A nan stays a nan.
static inline T relu(T x) { return x <= T(0) ? T(0) : x; }

// Each row: the number of its model, and where it begins.
template <typename Each> static inline void each_row(SHAPE, Each each) {
    for (ptrdiff_t m = 0; m < models; ++m)
        for (ptrdiff_t r = 0; r < rows; ++r) each(m, (m * rows + r) * columns);
}

PASS gpunet_biased(SHAPE, T *y, const T *z, const T *b, ptrdiff_t b_step, int act) {
    each_row(models, rows, columns, [=](ptrdiff_t m, ptrdiff_t at) {
        const T *bias = b + m * b_step;
        if (act) {
            EACH_COLUMN y[at + c] = relu(z[at + c] + bias[c]);
        } else {
            EACH_COLUMN y[at + c] = z[at + c] + bias[c];
        }
    });
}

PASS gpunet_squares(SHAPE, const T *z, T *out, const T *mean, ptrdiff_t mean_step) {
    each_row(models, rows, columns, [=](ptrdiff_t m, ptrdiff_t at) {
        const T *centre = mean + m * mean_step;
        EACH_COLUMN {
            const T off = z[at + c] - centre[c];
            out[at + c] = off * off;
        }
    });
}

PASS gpunet_normalised(SHAPE, const T *z, T *y, const T *mean, ptrdiff_t mean_step, const T *inv,
                       ptrdiff_t inv_step, const T *gamma, ptrdiff_t gamma_step, const T *beta,
                       ptrdiff_t beta_step, int act) {
    each_row(models, rows, columns, [=](ptrdiff_t m, ptrdiff_t at) {
        const T *centre = mean + m * mean_step, *inverse = inv + m * inv_step;
        const T *factor = gamma + m * gamma_step, *shift = beta + m * beta_step;
        EACH_COLUMN {
            const T a = (z[at + c] - centre[c]) * (factor[c] * inverse[c]) + shift[c];
            y[at + c] = act ? relu(a) : a;
        }
    });
}

// scales: of dropout, a model each.
PASS gpunet_activated_backward(SHAPE, T *g, const T *seen, const T *scales) {
    each_row(models, rows, columns, [=](ptrdiff_t m, ptrdiff_t at) {
        const T scale = scales[m];
        EACH_COLUMN
            g[at + c] = g[at + c] * T(seen[at + c] > T(0)) * scale;
    });
}

PASS gpunet_products(SHAPE, T *g, const T *seen, const T *z, T *out, const T *mean,
                     ptrdiff_t mean_step, const T *scales) {
    each_row(models, rows, columns, [=](ptrdiff_t m, ptrdiff_t at) {
        const T *centre = mean + m * mean_step, scale = scales[m];
        EACH_COLUMN {
            const T own = g[at + c] * T(seen[at + c] > T(0)) * scale;
            g[at + c] = own;
            out[at + c] = own * (z[at + c] - centre[c]);
        }
    });
}

PASS gpunet_deviations(SHAPE, const T *g, const T *z, T *out, const T *mean, ptrdiff_t mean_step) {
    each_row(models, rows, columns, [=](ptrdiff_t m, ptrdiff_t at) {
        const T *centre = mean + m * mean_step;
        EACH_COLUMN out[at + c] = g[at + c] * (z[at + c] - centre[c]);
    });
}

PASS gpunet_combined(SHAPE, T *g, const T *z, const T *mean, ptrdiff_t mean_step,
                     const T *slope, ptrdiff_t slope_step, const T *share, ptrdiff_t share_step,
                     const T *factor, ptrdiff_t factor_step) {
    each_row(models, rows, columns, [=](ptrdiff_t m, ptrdiff_t at) {
        const T *centre = mean + m * mean_step, *tilt = slope + m * slope_step;
        const T *part = share + m * share_step, *times = factor + m * factor_step;
        EACH_COLUMN
            g[at + c] = (g[at + c] - (z[at + c] - centre[c]) * tilt[c] - part[c]) * times[c];
    });
}

struct Drop {
    unsigned long long threshold, seed, step;
};

// y times a mask that is drawn anew, of 0 and of the model's scale; so many words at a time. A mask's
// step is the drop's and the counters'.
PASS gpunet_dropped(SHAPE, T *y, const Drop *drops, const T *scales, const long long *counters) {
    constexpr ptrdiff_t WORDS = 256;
    unsigned long long words[WORDS];
    unsigned short bits[4 * WORDS];
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a word's first bits are its last");
    const ptrdiff_t plane = rows * columns;
    for (ptrdiff_t m = 0; m < models; ++m, y += plane) {
        const Drop drop = drops[m];
        const int threshold = drop.threshold;
        const unsigned long long step = drop.step + counters[CALL];
        const T scale = scales[m];
        for (ptrdiff_t first = 0; first < plane; first += 4 * WORDS) {
            const ptrdiff_t count = plane - first < 4 * WORDS ? plane - first : 4 * WORDS;
            for (ptrdiff_t k = 0; 4 * k < count; k += 4) {
                const Philox random = philox(drop.seed, (first + 4 * k) / 16 + 1, step);
                for (int j = 0; j < 4; ++j) words[k + j] = random.word[j];
            }
            __builtin_memcpy(bits, words, sizeof words);
            for (ptrdiff_t i = 0; i < count; ++i)
                y[first + i] *= bits[i] >= threshold ? scale : T(0);
        }
    }
}

// Logits f have a row a class and a column a sample; the labels of two models are `label_step` apart.
// `chosen` holds what is largest until it is used.
static inline void shift(SHAPE, T *f, const T *b, ptrdiff_t b_step, const long long *labels,
                         ptrdiff_t label_step, T *chosen) {
    for (ptrdiff_t m = 0; m < models; ++m, f += rows * columns, chosen += columns) {
        T *highest = chosen;
        for (ptrdiff_t r = 0; r < rows; ++r) {
            T *row = f + r * columns;
            const T bias = b ? b[m * b_step + r] : T(0);
            EACH_COLUMN {
                const T value = b ? row[c] + bias : row[c];
                const bool stays = value <= highest[c] || highest[c] != highest[c];  // as a nan does
                row[c] = value;
                highest[c] = r && stays ? highest[c] : value;
            }
        }
        for (ptrdiff_t r = 0; r < rows; ++r) {
            T *row = f + r * columns;
            EACH_COLUMN row[c] -= highest[c];
        }
        for (ptrdiff_t c = 0; c < columns; ++c)
            chosen[c] = f[labels[m * label_step + c] * columns + c];
    }
}

PASS gpunet_shifted(SHAPE, T *f, const T *b, ptrdiff_t b_step, const long long *labels,
                    ptrdiff_t label_step, T *chosen) {
    shift(models, rows, columns, f, b, b_step, labels, label_step, chosen);
}

PASS gpunet_shifted_alone(SHAPE, T *f, const long long *labels, ptrdiff_t label_step, T *chosen) {
    shift(models, rows, columns, f, nullptr, 0, labels, label_step, chosen);
}

PASS gpunet_pulled(SHAPE, T *f, const long long *labels, ptrdiff_t label_step, const T *factor,
                   T amount) {
    for (ptrdiff_t m = 0; m < models; ++m, f += rows * columns, factor += columns) {
        for (ptrdiff_t r = 0; r < rows; ++r) {
            T *row = f + r * columns;
            EACH_COLUMN row[c] *= factor[c];
        }
        for (ptrdiff_t c = 0; c < columns; ++c) f[labels[m * label_step + c] * columns + c] -= amount;
    }
}
