// AMSGrad (Reddi, Kale & Kumar 2018), PyTorch's form: the largest raw v, then bias correction.
// in:      T grad
// scalars: lr, beta1, beta2, eps, correction1, correction2
// out:     T param, T m, T v, T v_max
m += (T(1) - beta1) * (grad - m);
v = beta2 * v + (T(1) - beta2) * (grad * grad);
v_max = maximum(v_max, v);
param -= lr * (m / correction1) / (sqrt(v_max / correction2) + eps);
