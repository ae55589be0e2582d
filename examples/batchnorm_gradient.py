"""BatchNorm's gradient, three ways: node by node, in closed form, and by the framework.

What to notice: walking back through the graph one node at a time gives the same numbers as the
closed form, which the framework uses; central differences agree with all of them. x reaches the
output along three paths (itself, the mean, the variance), and each brings a part of the gradient.
With running statistics two of the paths are gone, and the training formula would be wrong.
"""

import numpy as np

import gpunet as gn

rng = np.random.default_rng(0)
B, D, eps = 6, 3, 1e-5
x = rng.standard_normal((B, D)) * [1, 5, 0.2] + [0, 3, -1]
gamma, beta = rng.standard_normal(D), rng.standard_normal(D)
dy = rng.standard_normal((B, D))

# Forward, node by node
mean = x.mean(axis=0)
centred = x - mean
square = centred**2
var = square.mean(axis=0)
root = np.sqrt(var + eps)
inv = 1 / root
normal = centred * inv
y = gamma * normal + beta

# Backward, the same nodes in reverse
d_beta = dy.sum(axis=0)  # shift
d_gamma = (dy * normal).sum(axis=0)  # scale
d_normal = dy * gamma
d_inv = (d_normal * centred).sum(axis=0)  # normalise: two inputs
d_centred = d_normal * inv
d_root = -d_inv / root**2
d_var = d_root / (2 * root)
d_square = np.ones((B, D)) * d_var / B  # a mean hands each row 1 / B
d_centred = d_centred + 2 * centred * d_square  # the second path into `centred`
d_mean = -d_centred.sum(axis=0)
d_x = d_centred + d_mean / B

closed = gamma * inv / B * (B * dy - d_beta - normal * d_gamma)

tensors = [gn.Tensor(a, requires_grad=True) for a in (x, gamma, beta)]
out = gn.functional.batch_norm(*tensors)
out.backward(dy)


def off(a, b):
    return f"{np.abs(a - b).max():.1e}"


def numeric(f, a, h=1e-6):
    """The gradient of sum(f(a) * dy) by central differences."""
    slopes = np.zeros_like(a)
    for index in np.ndindex(a.shape):
        step = np.zeros_like(a)
        step[index] = h
        slopes[index] = ((f(a + step) - f(a - step)) * dy).sum() / (2 * h)
    return slopes


def batch_norm(a):
    return gamma * (a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + eps) + beta


print("training: largest differences")
print("  y, by nodes and by the framework:      ", off(y, out.data))
print("  dx, node by node and in closed form:   ", off(d_x, closed))
print("  dx, closed form and the framework:     ", off(closed, tensors[0].grad))
print("  dx, closed form and central differences:", off(closed, numeric(batch_norm, x)))
print(
    "  d gamma, d beta, by hand and framework: ",
    off(d_gamma, tensors[1].grad),
    "and",
    off(d_beta, tensors[2].grad),
)
print("the three paths of dx, first row, first feature:")
through_var = 2 * centred * d_square
parts = [float(p[0, 0]) for p in (d_normal * inv, through_var, np.ones((B, D)) * d_mean / B)]
print("  itself {:+.4f}, variance {:+.4f}, mean {:+.4f}".format(*parts), f"= {d_x[0, 0]:+.4f}")
print("column sums of dx (so a bias in front gets nothing):", off(d_x.sum(axis=0), 0))
print(
    "sum of dx * normal (0 but for eps: scaling x gains nothing):",
    off((d_x * normal).sum(axis=0), 0),
)

layer = gn.BatchNorm(D, dtype=np.float64)
layer.gamma.data, layer.beta.data = gamma, beta
layer.forward(x)  # moves the running statistics
layer.eval()
mean, var = layer.running_mean.copy(), layer.running_var.copy()
layer.forward(x)
dx_eval = layer.backward(dy)
print("evaluation, with running statistics as constants:")
print("  dx = dy gamma / root, and the framework:", off(dy * gamma / np.sqrt(var + eps), dx_eval))


def evaluated(a):
    return gamma * (a - mean) / np.sqrt(var + eps) + beta


slopes = numeric(evaluated, x)
print("  central differences and the framework:  ", off(slopes, dx_eval))
print("  ... and the training formula:           ", off(slopes, closed), "(wrong here)")
