// Signum (Bernstein et al. 2018, signSGD with momentum): the sign of an average gradient.
// in:      T grad
// scalars: lr, momentum
// out:     T param, T average
average = momentum * average + (T(1) - momentum) * grad;
param -= lr * sign_of(average);
