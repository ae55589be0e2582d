// y = dropout(act(y + b)), in place on the product of a layer; width is that of b, or 0 without one.
#include "counters.cuh"
#include "nn/activation.cuh"
#include "philox.cuh"
// in:  raw T b, raw int64 counters
// numbers: int64 width, int32 act, uint32 threshold, T scale, uint64 seed, uint64 step
// out: T y
const bool kept = !threshold || random_bits16(seed, step + counters[CALL], i) >= threshold;
y = kept ? activate(width ? y + b[i % width] : T(y), act) * scale : T(0);
