// Inverted dropout (Srivastava et al. 2014). An element is kept if its 16 random bits reach
// `threshold`; the mask covers the last two axes (`plane` elements) and every leading index, a
// model of its own, sees the same one. Backward is this kernel again, on the gradient.
#include "philox.cuh"
// in:  T x, T scale, uint64 seed, uint64 layer, uint64 step, uint32 threshold, int64 plane
// out: T y
y = random_bits16(seed, layer, step, i % plane) >= threshold ? x * scale : T(0);
