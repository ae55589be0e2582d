// Stochastic gradient descent (Robbins & Monro 1951).
// in:      T grad
// scalars: lr
// out:     T param
param -= lr * grad;
