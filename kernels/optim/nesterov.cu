// Nesterov's accelerated gradient (Nesterov 1983; Sutskever et al. 2013, eq. 3-4), written at the
// look-ahead point (Bengio et al. 2012): the stored weights are theta + momentum * velocity.
// in:      T grad
// scalars: lr, momentum, weight_decay
// out:     T param, T velocity
grad += weight_decay * param;
velocity = momentum * velocity - lr * grad;
param += momentum * velocity - lr * grad;
