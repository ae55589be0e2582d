// iRprop- (Riedmiller & Braun 1993; Igel & Huesken 2003): only the gradient's sign is used, and a
// weight whose gradient changed sign rests for one step. Signs are multiplied, not gradients: the
// product of two small ones would be 0.
// in:      T grad
// scalars: eta_minus, eta_plus, step_min, step_max
// out:     T param, T step_size = lr, T last_sign
const T sign = sign_of(grad);
const T turn = sign * last_sign;
const T eta = turn > T(0) ? eta_plus : (turn < T(0) ? eta_minus : T(1));
step_size = minimum(maximum(step_size * eta, step_min), step_max);
last_sign = turn < T(0) ? T(0) : sign;
param -= step_size * last_sign;
