// Inverted dropout of several models, of `plane` elements each, as dropout.cu's of one: model k has a
// scale, a threshold and a seed of its own, and its mask is that of step steps[k] + call.
#include "nn/plane.cuh"
// threads: 256
// in:  T* x, T* scales, uint32* thresholds, uint64* seeds, uint64* steps
// numbers: uint64 call, int64 plane
// out: T* y
const Block block = block_of(plane);
const unsigned int k = block.model;
drop(x, y, plane, block, Dropout{thresholds[k], seeds[k], steps[k] + call}, scales[k]);
