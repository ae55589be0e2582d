// COCOB-Backprop (Orabona & Tommasi 2017, Algorithm 2): a bet on each weight, no learning rate.
// L is the largest |gradient| seen, G their sum, theta the sum of negative gradients, w1 the first
// weights: the bet is added to w1, never to the last weights. The factored form keeps L^2 out of
// float32's way.
// in:      T grad
// scalars: alpha, eps_denominator
// out:     T param, T L = eps, T G, T reward, T theta, T w1 = param
const T c = -grad;
L = maximum(L, fabs(c));
G += fabs(c);
reward = maximum(reward + (param - w1) * c, T(0));
theta += c;
const T wealth = L + reward;
const T width = maximum(G + L, alpha * L) + (L != T(0) ? eps_denominator / L : T(0));
param = L != T(0) ? w1 + (theta / L) * (wealth / width) : w1;
