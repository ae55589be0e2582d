// NAdam (Dozat 2016), PyTorch's form with the momentum schedule mu_t; momentum_weight and
// grad_weight hold the two bias-corrected shares of the step.
// in:      T grad
// scalars: lr, beta1, beta2, eps, momentum_weight, grad_weight, correction2
// out:     T param, T m, T v
m += (T(1) - beta1) * (grad - m);
v = beta2 * v + (T(1) - beta2) * (grad * grad);
param -= lr * (momentum_weight * m + grad_weight * grad) / (sqrt(v / correction2) + eps);
