// Hyperbolic tangent.
// in:  T x
// out: T y
y = tanh(x);
