"""An op of your own: one function on arrays that returns (y, backward).

What to notice: `backward` sees what the forward pass saw, because it is written inside it. The
gradient check compares it with central differences; given a wrong one it names the element.
"""

import numpy as np

import gpunet as gn


@gn.op
def softplus(x):
    """log(1 + exp(x)), a smooth ReLU."""
    y = np.logaddexp(0, x)

    def backward(gy):
        return gy / (1 + np.exp(-x))  # the logistic function

    return y, backward


x = gn.Tensor(np.linspace(-3, 3, 7), requires_grad=True)
y = softplus(x)
y.sum().backward()
for value, result, slope in zip(x.data, y.data, x.grad, strict=True):
    print(f"softplus({value:+.0f}) = {result:.4f}, slope {slope:.4f}")

batch = np.random.default_rng(0).standard_normal((4, 3))
gn.gradcheck(softplus, [batch])
print("the gradient agrees with central differences")


@gn.op
def wrong(x):
    """The same, with a slip in its backward: the sign of x."""
    return np.logaddexp(0, x), lambda gy: gy / (1 + np.exp(x))


try:
    gn.gradcheck(wrong, [batch])
except gn.GradcheckError as error:
    print("and of the wrong one it says:")
    print(error)
