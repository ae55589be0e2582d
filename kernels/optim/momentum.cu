// Momentum (Polyak 1964), velocity form: old steps keep the lr that they were made with.
// in:      T grad
// scalars: lr, momentum
// out:     T param, T velocity
velocity = momentum * velocity - lr * grad;
param += velocity;
