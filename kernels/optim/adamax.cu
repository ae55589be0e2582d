// AdaMax (Kingma & Ba 2015, Algorithm 2); eps inside the maximum, as in PyTorch.
// in:      T grad
// scalars: lr, beta1, beta2, eps, correction1
// out:     T param, T m, T u
m += (T(1) - beta1) * (grad - m);
u = maximum(beta2 * u, fabs(grad) + eps);
param -= lr * (m / correction1) / u;
