// AdaGrad (Duchi, Hazan & Singer 2011). One of eps (outside the root) and eps_root (inside) is 0.
// in:      T grad
// scalars: lr, eps, eps_root, weight_decay
// out:     T param, T sum_square
grad += weight_decay * param;
sum_square += grad * grad;
param -= lr * grad / (sqrt(sum_square + eps_root) + eps);
