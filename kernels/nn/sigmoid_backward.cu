// Sigmoid backward, from the output.
// in:  T gy, T y
// out: T gx
gx = gy * y * (T(1) - y);
