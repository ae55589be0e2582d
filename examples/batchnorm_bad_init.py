"""BatchNorm against bad weight scales: a deep network whose weights start at std 1 down to 0.0001.

What to notice: without BatchNorm the spread of the activations is multiplied by the same factor in
every layer. It dies out (the loss then stays at log 10 = 2.303, a guess among ten) or blows up, and
only a narrow band of std trains. With it the spread is the same in every layer and every std
trains. (From 0.001 on the variances come near eps = 1e-5 and then sink below it: BatchNorm divides
by more than the spread, and the start is slow.) The second part is about evaluation, which uses the
running statistics: they hold B / (B - 1) times the batches' own variances, and with them a row's
output no longer depends on the rows beside it.

    python examples/batchnorm_bad_init.py --plot     # also writes batchnorm_bad_init.png
"""

import sys

import numpy as np

import gpunet as gn
from gpunet.colours import COLOURS
from gpunet.data import load

STDS = (1.0, 0.1, 0.01, 0.001, 0.0001)
DEPTH, WIDTH = 4, 100
BARS = " .:-=+*#%@"


def network(std, batch_norm):
    """64-100-100-100-100-10 with ReLU, weights N(0, std^2)."""
    gn.seed(0)
    layers, before = [], 64
    for _ in range(DEPTH):
        layers.append(gn.Affine(before, WIDTH, init=gn.Normal(std)))
        layers += [gn.BatchNorm(WIDTH)] if batch_norm else []
        layers.append(gn.ReLU())
        before = WIDTH
    return gn.Sequential(*layers, gn.Affine(before, 10, init=gn.Normal(std)))


def activations(model, x):
    """The output of every ReLU, in training mode, before any training."""
    found = []
    with gn.no_grad():
        for layer in model:
            x = layer(x)
            if isinstance(layer, gn.ReLU):
                found.append(x.data)
    return found


def histogram(values, low=-8, high=4):
    """Shares of the positive values in decades from 10^low to 10^high, one character each."""
    positive = values[values > 0]
    counts, _ = np.histogram(np.log10(positive), bins=high - low, range=(low, high))
    shares = counts / max(values.size, 1)
    return "".join(BARS[min(9, int(np.ceil(share * 18)))] for share in shares)


def train(model, data, epochs=12):
    optimizer = gn.Momentum(model.parameters(), lr=0.05)
    trainer = gn.Trainer(
        model, gn.SoftmaxWithLoss(), optimizer, on_nonfinite="ignore", progress=False
    )
    return trainer.fit(data.train, data.valid, epochs=epochs, batch_size=100)


def compare(data):
    x = data.train.x[:500]
    curves = {}
    print("spread of the activations, layer 1 to 4, then their sizes, 10^-8 left to 10^4 right")
    for batch_norm in (False, True):
        print("with BatchNorm" if batch_norm else "without")
        for std in STDS:
            found = activations(network(std, batch_norm), x)
            spreads = " ".join(f"{a.std():7.1e}" for a in found)
            drawn = " ".join(f"|{histogram(a)}|" for a in found[:: DEPTH - 1])
            print(f"  std {std:<6g} {spreads}  {drawn}")
    print("training loss after epoch 1 and 12, validation accuracy")
    for std in STDS:
        line = f"  std {std:<6g}"
        for batch_norm in (False, True):
            history = train(network(std, batch_norm), data)
            curves[std, batch_norm] = history["train_loss"]
            first, last = history["train_loss"][0], history["train_loss"][-1]
            accuracy = history["valid_accuracy"][-1]
            name = "with" if batch_norm else "without"
            line += f"  {name}: {first:.3f} {last:.3f} {accuracy:.3f}"
        print(line)
    return curves


def statistics(data):
    """What evaluation normalises with."""
    print("running statistics of one BatchNorm, momentum 0.1, batches of B = 8 random rows")
    rng = np.random.default_rng(0)
    B = 8
    layer = gn.BatchNorm(1, dtype=np.float64)
    biased, kept = [], []
    for step in range(1, 2001):
        x = rng.normal(3.0, 2.0, (B, 1))  # mean 3, variance 4
        layer(x)
        biased.append(x.var())
        kept.append(layer.running_var[0])
        if step in (1, 10, 100, 2000):
            mean, var = layer.running_mean[0], layer.running_var[0]
            print(f"  after {step:4} batches: running mean {mean:.3f}, variance {var:.3f}")
    own = np.mean(biased)
    print("  true variance 4.000; means over many batches:")
    print(f"    the batches' own {own:.3f}, times B / (B - 1) {own * B / (B - 1):.3f},")
    print(f"    the running variance {np.mean(kept[100:]):.3f}")

    model = network(0.1, True)
    train(model, data)
    x, t = data.test.x, data.test.t
    with gn.no_grad(), model.evaluating():
        alone, among = model(x[:1]).data[0].max(), model(x[:100]).data[0].max()
        right = (model(x).data.argmax(axis=-1) == t).mean()
    print("a trained network: the largest logit of test row 0")
    print(f"  by running statistics: alone {alone:.4f}, among 100 rows {among:.4f}")
    with gn.no_grad(), gn.context.frozen():
        others = [model(x[[0, *range(k, k + 7)]]).data[0].max() for k in (10, 20, 30)]
        print("  by its batch's own, three times with 7 other rows:", *(f"{v:.4f}" for v in others))
        print(f"test accuracy by running statistics {right:.3f}", end="")
        for rows in (36, 8, 2):
            parts = [slice(k, k + rows) for k in range(0, len(x), rows)]
            hits = sum((model(x[p]).data.argmax(axis=-1) == t[p]).sum() for p in parts)
            print(f", by those of {rows} rows {hits / len(x):.3f}", end="")
    print()


def plot(data, curves):
    from gpunet.study.pictures import bare, new_figure, save_figure

    figure = new_figure(12, 5)
    rows = figure.subplots(2, DEPTH + 1)
    for axes, batch_norm in zip(rows, (False, True), strict=True):
        for std, colour in zip(STDS, COLOURS, strict=False):
            losses = curves[std, batch_norm]
            axes[0].plot(np.arange(1, len(losses) + 1), losses, color=colour, label=f"std {std:g}")
            for k, a in enumerate(activations(network(std, batch_norm), data.train.x[:500]), 1):
                sizes = np.log10(a[a > 0])
                axes[k].hist(sizes, bins=48, range=(-18, 6), histtype="step", color=colour)
        title = "with BatchNorm" if batch_norm else "without"
        axes[0].set(title=f"{title}: training loss", yscale="log", xlabel="epoch", ylim=(5e-3, 20))
        for k in range(1, DEPTH + 1):
            axes[k].set(title=f"layer {k}", xlabel="log10 of activation", yticks=[])
        for one in axes:
            bare(one)
    rows[0][0].legend(frameon=False, fontsize=7)
    save_figure(figure, "batchnorm_bad_init.png")


if __name__ == "__main__":
    digits = load("digits")
    found = compare(digits)
    statistics(digits)
    if "--plot" in sys.argv:
        plot(digits, found)
