// ReLU; a nan stays a nan.
#include "nn/activation.cuh"
// in:  T x
// out: T y
y = relu(x);
