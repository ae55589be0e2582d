"""The learning rate alone: gradient descent on f(x) = 10 sin(x) / x from x = 2.

What to notice: 0.01 goes straight downhill, but slowly; 1.1 leaps from one side of the minimum
to the other and never comes nearer; 1.2 leaps among four points. Neither diverges: on a loss curve
the one looks flat and the other noisy, and both are only a learning rate that is too large. A rate
that falls cures the swings: it begins as large as that, and ends in the minimum.

    python examples/learning_rate.py --plot     # also writes learning_rate.png
"""

import sys

import numpy as np

import gpunet as gn
from gpunet.colours import COLOURS, GREY


@gn.op
def f(x):
    y = 10 * np.sin(x) / x
    return y, lambda gy: gy * (10 * np.cos(x) - y) / x


def descend(lr, steps, start=2.0):
    """The points that gn.SGD visits."""
    x = gn.Parameter(np.array([start]))
    opt = gn.SGD([x], lr=lr)
    path = [start]
    for _ in range(steps):
        opt.zero_grad()
        f(x).sum().backward()
        opt.step()
        path.append(x.data.item())
    return np.array(path)


def main():
    print("f(x) at the start: 4.546; at the minimum, x = 4.4934: -2.172")
    for lr in (0.01, 1.1, 1.2):
        path = descend(lr, 1000)
        values = 10 * np.sin(path) / path
        first = " ".join(f"{v:.3f}" for v in values[[1, 2, 3, 15, 16]])
        places = np.unique(values[-64:].round(3))
        print(f"lr {lr}: f after 1, 2, 3, 15, 16 steps: {first}")
        print(f"    steps 937 to 1000 are at {len(places)} height(s): {places.tolist()}")
    for lr in (1.1, 1.2):
        last = descend(gn.schedules.cosine(lr, 1000), 1000)[-64:]
        ends = 10 * np.sin(last) / last
        print(f"lr {lr} falling to 0: steps 937 to 1000 from {ends.max():.3f} to {ends.min():.3f}")


def plot():
    from gpunet.study.pictures import new_figure, save_figure

    figure = new_figure(10, 3.2)
    curve = np.linspace(-2, 9, 501)
    for axes, lr in zip(figure.subplots(1, 3, sharey=True), (0.01, 1.1, 1.2), strict=True):
        path = descend(lr, 16)
        axes.plot(curve, 10 * np.sinc(curve / np.pi), color=GREY, linewidth=1)
        axes.plot(path, 10 * np.sinc(path / np.pi), "o-", color=COLOURS[1], markersize=3)
        axes.set(title=f"lr {lr}, 16 steps", xlabel="x")
    save_figure(figure, "learning_rate.png")


if __name__ == "__main__":
    main()
    if "--plot" in sys.argv:
        plot()
