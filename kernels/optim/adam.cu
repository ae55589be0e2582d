// Adam (Kingma & Ba 2015, Algorithm 1); correction1 = 1 - beta1^t, correction2 = 1 - beta2^t.
// in:      T grad
// scalars: lr, beta1, beta2, eps, eps_root, weight_decay, correction1, correction2
// out:     T param, T m, T v
grad += weight_decay * param;
m += (T(1) - beta1) * (grad - m);
v = beta2 * v + (T(1) - beta2) * grad * grad;
param -= lr / correction1 * m / (sqrt(v / correction2 + eps_root) + eps);
