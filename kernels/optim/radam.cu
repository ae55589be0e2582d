// RAdam (Liu et al. 2020, Algorithm 2), PyTorch's threshold and eps; rectification is
// r_t * sqrt(1 - beta2^t), or 0 while the variance is too uncertain to divide by.
// in:      T grad
// scalars: lr, beta1, beta2, eps, correction1, rectification
// out:     T param, T m, T v
m += (T(1) - beta1) * (grad - m);
v = beta2 * v + (T(1) - beta2) * (grad * grad);
T step = lr * (m / correction1);
if (rectification > T(0)) step = step * rectification / (sqrt(v) + eps);
param -= step;
