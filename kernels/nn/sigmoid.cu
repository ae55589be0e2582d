// The logistic function.
#include "nn/activation.cuh"
// in:  T x
// out: T y
y = sigmoid(x);
