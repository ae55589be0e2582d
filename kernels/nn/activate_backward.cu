// Back through an activation, from its output or, where its source says INPUT, from its input.
#include "nn/activation.cuh"
// in:  T gy, T seen
// numbers: int32 act, T alpha
// out: T gx
gx = activate_backward(gy, seen, act, alpha);
