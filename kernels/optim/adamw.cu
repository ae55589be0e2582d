// Adam with decoupled weight decay (Loshchilov & Hutter 2019, Algorithm 2; PyTorch's lr * decay).
// in:      T grad
// scalars: lr, beta1, beta2, eps, weight_decay, correction1, correction2
// out:     T param, T m, T v
param -= lr * weight_decay * param;
m += (T(1) - beta1) * (grad - m);
v = beta2 * v + (T(1) - beta2) * grad * grad;
param -= lr / correction1 * m / (sqrt(v / correction2) + eps);
