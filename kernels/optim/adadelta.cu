// AdaDelta (Zeiler 2012, Algorithm 1); lr = 1 is the paper's.
// in:      T grad
// scalars: lr, rho, eps
// out:     T param, T square_avg, T delta_avg
square_avg = rho * square_avg + (T(1) - rho) * (grad * grad);
const T delta = sqrt(delta_avg + eps) / sqrt(square_avg + eps) * grad;
delta_avg = rho * delta_avg + (T(1) - rho) * (delta * delta);
param -= lr * delta;
