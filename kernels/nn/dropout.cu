// Inverted dropout (Srivastava et al. 2014). An element is kept if its 16 random bits reach
// `threshold`; the mask covers the last two axes (`plane` elements), and every leading index, a
// model of its own, sees the same one, or with `drops` one of its own. Backward is this kernel again,
// on the gradient. In a captured step `step` is where the device began to count calls.
#include "counters.cuh"
#include "nn/models.cuh"
#include "nn/plane.cuh"
// threads: 256
// in:  T* x, int64* counters, uint64* drops
// numbers: T scale, uint64 seed, uint64 step, uint32 threshold, int64 plane
// out: T* y
const Block block = block_of(plane);
const Dropout own = dropout_of(block.model, drops, threshold, seed, step + counters[CALL]);
drop(x, y, plane, block, own, scale_of(block.model, drops, scale));
