// Nesterov's accelerated gradient (Nesterov 1983; Sutskever et al. 2013, eq. 3-4), written at the
// look-ahead point (Bengio et al. 2012): the stored weights are theta + momentum * velocity.
// in:      T grad
// scalars: lr, momentum
// out:     T param, T velocity
velocity = momentum * velocity - lr * grad;
param += momentum * velocity - lr * grad;
