"""A layer of your own: Parameters as attributes, and `call`.

What to notice: the layer's gain is found by `parameters()`, trained by the optimizer and saved by
its name, without another line; the gradient check covers the input and the parameter.
"""

import numpy as np

import gpunet as gn


class Scale(gn.Layer):
    """Each feature times a gain that is learned."""

    def __init__(self, features, dtype=np.float32):
        self.gain = gn.Parameter(np.ones(features, dtype), decay=False)

    def call(self, x):
        return x * self.gain


rng = np.random.default_rng(0)
gn.gradcheck(Scale(3, np.float64), [rng.standard_normal((5, 3))])
print("gradient check passed: d loss / d x and d loss / d gain")

x = rng.standard_normal((200, 3)).astype(np.float32)
wanted = np.array([1, -2, 0.5], np.float32)
model = gn.Sequential(Scale(3))
opt = gn.Momentum(model.parameters(), lr=0.1)
loss_fn = gn.MeanSquaredError()
for step in range(101):
    loss = loss_fn(model(x), x * wanted)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 25 == 0:
        print(f"step {step:3}: loss {loss.item():.6f}")
for name, array in model.state_dict().items():
    print(f"{name}: wanted {wanted.tolist()}, learned {[round(float(g), 3) for g in array]}")
