// Inverted dropout of several models, of `plane` elements each, as dropout.cu's of one: model k has a
// scale, a threshold and a seed of its own, and its mask is that of step steps[k] + call.
#include "philox.cuh"
// in:  T x, raw T scales, raw uint32 thresholds, raw uint64 seeds, raw uint64 steps
// numbers: uint64 call, int64 plane
// out: T y
const ptrdiff_t model = i / plane;
const unsigned int bits = random_bits16(seeds[model], steps[model] + call, i % plane);
y = bits >= thresholds[model] ? x * scales[model] : T(0);
