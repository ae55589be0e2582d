// AdaGrad (Duchi, Hazan & Singer 2011). One of eps (outside the root) and eps_root (inside) is 0.
// in:      T grad
// scalars: lr, eps, eps_root
// out:     T param, T sum_square = initial_accumulator
sum_square += grad * grad;
param -= lr * grad / (sqrt(sum_square + eps_root) + eps);
