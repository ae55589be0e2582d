// The logistic function by exp(-|x|), which cannot overflow.
// in:  T x
// out: T y
const T z = exp(-fabs(x));
y = (x >= T(0) ? T(1) : z) / (T(1) + z);
