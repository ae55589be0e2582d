// ReLU backward, from the output; the subgradient at 0 is 0.
// in:  T gy, T y
// out: T gx
gx = y > T(0) ? gy : T(0);
