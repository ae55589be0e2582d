// AdaBelief (Zhuang et al. 2020): Adam with s, the spread of the gradient around m, in v's place.
// in:      T grad
// scalars: lr, beta1, beta2, eps, eps_root, correction1, correction2
// out:     T param, T m, T s
m += (T(1) - beta1) * (grad - m);
s = beta2 * s + (T(1) - beta2) * ((grad - m) * (grad - m)) + eps_root;
param -= lr * (m / correction1) / (sqrt(s / correction2) + eps);
