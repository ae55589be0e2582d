"""Backprop by hand: layers as forward and backward pairs, and the same numbers by differences.

What to notice: the backward calls are the forward calls in reverse. Each turns the gradient of its
output into that of its input, and leaves its parameters' gradients in `.grad` on the way. Central
differences need two forward passes for every single number; backward needs one pass for all.
"""

import numpy as np

import gpunet as gn

gn.seed(1)
rng = np.random.default_rng(1)
x = rng.standard_normal((6, 4))
t = rng.integers(0, 3, 6)

affine1, relu = gn.Affine(4, 5, dtype=np.float64), gn.ReLU()
affine2, loss_layer = gn.Affine(5, 3, dtype=np.float64), gn.SoftmaxWithLoss()


def forward(x):
    hidden = relu.forward(affine1.forward(x))
    return loss_layer.forward(affine2.forward(hidden), t)


loss = forward(x)
d_logits = loss_layer.backward()
d_hidden = affine2.backward(d_logits)
d_sum = relu.backward(d_hidden)
d_x = affine1.backward(d_sum)

print(f"loss {loss:.6f}")
print("d loss / d logits, first row:", d_logits[0].round(4), "(softmax - one-hot) / batch")
print("d loss / d b2:", affine2.b.grad.round(4), "= the column sums of d logits")
off = relu.forward(affine1.forward(x)) == 0
print(f"ReLU let nothing through at {off.sum()} of {off.size} places:", d_sum[off].any(), "there")


def numeric(array, eps=1e-6):
    """The gradient of the loss by central differences: one element at a time, up and down."""
    slopes = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + eps
        up = forward(x)
        array[index] = kept - eps
        down = forward(x)
        array[index] = kept
        slopes[index] = (up - down) / (2 * eps)
    return slopes


pairs = {
    "x": (x, d_x),
    "W1": (affine1.W.data, affine1.W.grad),
    "b1": (affine1.b.data, affine1.b.grad),
    "W2": (affine2.W.data, affine2.W.grad),
    "b2": (affine2.b.data, affine2.b.grad),
}
for name, (array, gradient) in pairs.items():
    difference = np.abs(gradient - numeric(array)).max()
    print(f"{name:2} {array.shape!s:6}: {2 * array.size:2} forward passes, off by {difference:.1e}")
