// ReLU; a nan stays a nan.
#include "common.cuh"
// in:  T x
// out: T y
y = maximum(x, T(0));
