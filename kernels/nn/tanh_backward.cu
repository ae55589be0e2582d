// Tanh backward, from the output.
// in:  T gy, T y
// out: T gx
gx = gy * (T(1) - y * y);
