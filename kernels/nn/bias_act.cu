// y = dropout(act(z + b)) of the product z of a layer, which y may be; width is that of b, or 0
// without one.
#include "counters.cuh"
#include "nn/activation.cuh"
#include "philox.cuh"
// in:  T z, raw T b, raw int64 counters
// numbers: int64 width, int32 act, T alpha, uint32 threshold, T scale, uint64 seed, uint64 step
// out: T y
const bool kept = !threshold || random_bits16(seed, step + counters[CALL], i) >= threshold;
y = kept ? activate(width ? z + b[i % width] : z, act, alpha) * scale : T(0);
