// Signum (Bernstein et al. 2018, signSGD with momentum): the sign of an average gradient.
// in:      T grad
// scalars: lr, momentum, weight_decay
// out:     T param, T average
grad += weight_decay * param;
average = momentum * average + (T(1) - momentum) * grad;
param -= lr * sign_of(average);
