// Momentum (Polyak 1964), velocity form: old steps keep the lr that they were made with.
// in:      T grad
// scalars: lr, momentum, weight_decay
// out:     T param, T velocity
grad += weight_decay * param;
velocity = momentum * velocity - lr * grad;
param += velocity;
