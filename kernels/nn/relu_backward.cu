// ReLU backward, from the output; the subgradient at 0 is 0.
#include "nn/activation.cuh"
// in:  T gy, T y
// out: T gx
gx = relu_backward(gy, y);
