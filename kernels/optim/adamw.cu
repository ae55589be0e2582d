// Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2; PyTorch's lr * decay);
// lr_t and eps_t hold the corrections of m and v, as in adam.cu.
// in:      T grad
// scalars: lr, weight_decay, lr_t, beta1, beta2, eps_t
// out:     T param, T m, T v
param -= lr * weight_decay * param;
m += (T(1) - beta1) * (grad - m);
v = beta2 * v + (T(1) - beta2) * (grad * grad);
param -= lr_t * m / (sqrt(v) + eps_t);
