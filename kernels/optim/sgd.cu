// Stochastic gradient descent (Robbins & Monro 1951).
// in:      T grad
// scalars: lr, weight_decay
// out:     T param
grad += weight_decay * param;
param -= lr * grad;
