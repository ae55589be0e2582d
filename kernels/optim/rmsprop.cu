// RMSProp (Tieleman & Hinton 2012), centered (Graves 2013, eq. 38-45), with momentum as in PyTorch.
// Centered keeps the variance itself, which equals the average square minus the squared average
// and cannot fall below 0 by rounding: var' = rho * (var + (1 - rho) * (grad - mean)^2).
// in:      T grad
// scalars: lr, rho, eps, eps_root, momentum
// out:     T param, T square_avg, T grad_avg if centered, T velocity if momentum
#if CENTERED
const T off = grad - grad_avg;
square_avg = rho * (square_avg + (T(1) - rho) * (off * off));
grad_avg += (T(1) - rho) * off;
#else
square_avg = rho * square_avg + (T(1) - rho) * (grad * grad);
#endif
T step = grad / (sqrt(square_avg + eps_root) + eps);
#if MOMENTUM
velocity = momentum * velocity + step;
step = velocity;
#endif
param -= lr * step;
