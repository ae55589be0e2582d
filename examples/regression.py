"""Regression: a noisy sine, learned by an MLP with the squared error.

What to notice: the network's error on fresh points comes down to the noise that was put in, and no
model can do better; a straight line stays far above it. Outside the range it was trained on the
network knows nothing, and it does not say so.

    python examples/regression.py --plot     # also writes regression.png
"""

import sys

import numpy as np

import gpunet as gn
from gpunet.colours import COLOURS, GREY

NOISE = 0.1


def samples(count, low, high, seed):
    """x (count, 1) and y (count, 1), y = sin(x) + noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, (count, 1))
    y = np.sin(x) + NOISE * rng.standard_normal((count, 1))
    return x.astype(np.float32), y.astype(np.float32)


def rmse(y, t):
    return float(np.sqrt(np.mean((y - t) ** 2)))


def train():
    gn.seed(0)
    model = gn.MLP([1, 32, 32, 1], activation="tanh")
    optimizer = gn.Adam(model.parameters(), lr=3e-3)
    stop = gn.EarlyStopping(patience=50)
    trainer = gn.Trainer(model, gn.MeanSquaredError(), optimizer, [stop], progress=False)
    trainer.fit(samples(400, -3, 3, 0), samples(100, -3, 3, 1), epochs=200, batch_size=50)
    return trainer


def main():
    trainer = train()
    model, history = trainer.model, trainer.history
    print(f"trained for {len(history)} epochs; kept epoch {history.kept}")
    x, y = samples(400, -3, 3, 0)
    line = np.polyfit(x[:, 0], y[:, 0], 1)
    for title, low, high in (("inside, -3 to 3", -3, 3), ("outside, 5 to 8", 5, 8)):
        fresh, target = samples(1000, low, high, 2)
        by_net = rmse(model(fresh).data, target)
        by_line = rmse(np.polyval(line, fresh), target)
        print(f"{title}: error of the network {by_net:.3f}, of a straight line {by_line:.3f}")
    print(f"the noise alone: {NOISE:.3f}")
    return model


def plot(model):
    from gpunet.study.pictures import new_figure, save_figure

    figure = new_figure(8, 4)
    axes = figure.subplots()
    x, y = samples(400, -3, 3, 0)
    axes.plot(x, y, ".", color=GREY, label="training points")
    grid = np.linspace(-6, 8, 400, dtype=np.float32)[:, None]
    axes.plot(grid, np.sin(grid), color=COLOURS[0], linestyle="--", label="sin(x)")
    axes.plot(grid, model(grid).data, color=COLOURS[1], label="network")
    axes.legend(frameon=False)
    save_figure(figure, "regression.png")


if __name__ == "__main__":
    found = main()
    if "--plot" in sys.argv:
        plot(found)
