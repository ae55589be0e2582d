// Lion (Chen et al. 2023, Algorithm 2): the sign of an average, with decoupled weight decay.
// in:      T grad
// scalars: lr, beta1, beta2, weight_decay
// out:     T param, T m
const T c = beta1 * m + (T(1) - beta1) * grad;
param -= lr * (sign_of(c) + weight_decay * param);
m = beta2 * m + (T(1) - beta2) * grad;
