// Adam (Kingma & Ba 2015, Algorithm 1) in the order of the paper's section 2: the corrections of m
// and v are in lr_t = lr * sqrt(1 - beta2^t) / (1 - beta1^t) and eps_t = eps * sqrt(1 - beta2^t).
// in:      T grad
// scalars: lr_t, beta1, beta2, eps_t, eps_root_t
// out:     T param, T m, T v
m += (T(1) - beta1) * (grad - m);
v = beta2 * v + (T(1) - beta2) * (grad * grad);
param -= lr_t * m / (sqrt(v + eps_root_t) + eps_t);
