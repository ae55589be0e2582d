// Tanh backward, from the output.
#include "nn/activation.cuh"
// in:  T gy, T y
// out: T gx
gx = tanh_backward(gy, y);
