"""Slopes where there is none: |x| and ReLU at 0.

A convex function has a subgradient g at x if f(y) >= f(x) + g (y - x) for every y: a line that
touches it from below (Boyd & Vandenberghe, "Subgradients", 2006). At a kink there are many.

What to notice: the slopes from the left and from the right differ, and every number between the
two is a subgradient, none beyond. A backward pass has to name one: for |x| gpunet names 0 at 0, for
ReLU too. 0 among |x|'s subgradients says that 0 is its minimum, though the slope is never near 0
beside it: steps of a constant rate swing about it, those of a falling one end there.
"""

import numpy as np

import gpunet as gn

FUNCTIONS = {"|x|": abs, "ReLU": gn.functional.relu}
CANDIDATES = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)


def value(function, x):
    return function(gn.Tensor(np.array([x]))).data.item()


def slope(function, x):
    """What backward gives."""
    point = gn.Parameter(np.array([x]))
    function(point).sum().backward()
    return point.grad.item()


def touches_from_below(function, g, x=0.0):
    ys = np.linspace(-3, 3, 601)
    values = function(gn.Tensor(ys)).data
    return bool((values >= value(function, x) + g * (ys - x) - 1e-12).all())


def descend(rate, steps=100):
    """|x| from 0.25; the farthest of the last ten points."""
    x = gn.Parameter(np.array([0.25]))
    optimizer = gn.SGD([x], lr=rate)
    points = []
    for _ in range(steps):
        optimizer.zero_grad()
        abs(x).sum().backward()
        optimizer.step()
        points.append(abs(x.data.item()))
    return max(points[-10:])


def main():
    h = 1e-6
    for name, function in FUNCTIONS.items():
        left = (value(function, 0.0) - value(function, -h)) / h
        right = (value(function, h) - value(function, 0.0)) / h
        found = [g for g in CANDIDATES if touches_from_below(function, g)]
        print(f"{name:4} at 0: slope from the left {left:+.3f}, from the right {right:+.3f}")
        print(f"     subgradients among {CANDIDATES}: {found}")
        print(f"     backward gives {slope(function, 0.0):+.1f}")
    print(f"|x| from 0.25, rate 0.1: the last ten steps are up to {descend(0.1):.3f} from 0")
    falling = descend(gn.schedules.inverse_time(0.1, 0.1))
    print(f"|x| from 0.25, rate 0.1 / (1 + 0.1 t): up to {falling:.3f}")


if __name__ == "__main__":
    main()
