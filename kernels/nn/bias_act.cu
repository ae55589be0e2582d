// y = dropout(act(y + b)), in place on the product of a layer; width is that of b, or 0 without one.
#include "nn/activation.cuh"
#include "philox.cuh"
// in:  raw T b, int64 width, int32 act, uint32 threshold, T scale, uint64 seed, uint64 layer,
//      uint64 step, raw int64 clock
// out: T y
const bool kept = !threshold || random_bits16(seed, layer, step + clock[1], i) >= threshold;
y = kept ? activate(width ? y + b[i % width] : T(y), act) * scale : T(0);
