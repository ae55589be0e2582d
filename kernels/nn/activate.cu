// An activation, by its number.
#include "nn/activation.cuh"
// in:  T x
// numbers: int32 act, T alpha
// out: T y
y = activate(x, act, alpha);
