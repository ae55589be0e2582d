// The 2-norm of the gradients, for clipping by the global norm. Added up in double: in float the
// square of 1e25 is infinite, the square of 1e-25 is 0, and a million terms cost four digits.
// in:       T x
// out:      float64 y
// map:      double(x) * double(x)
// reduce:   a + b
// post:     y = sqrt(a)
// identity: 0
