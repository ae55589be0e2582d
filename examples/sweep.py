"""Sixty-four networks in one go: four shares of dropout, sixteen learning rates.

What to notice: all are trained in one step, each from its own weights, in its own order, with its
own masks, and each stops by itself, the fast ones after a few epochs. The best rate moves little
with dropout; what is best is a valley, not a point, so that the exact rate matters less than its
power of ten. Trained alone the best of them comes to the same losses, digit by digit.

    python examples/sweep.py --plot
"""

import sys
import time

import numpy as np

import gpunet as gn
from gpunet.data import load

RATES = np.geomspace(1e-4, 0.3, 16)
SHARES = (0.0, 0.1, 0.3, 0.5)
EPOCHS, PATIENCE = 20, 3


def model():
    return gn.MLP([64, 32, 10], dropout=0.5)


def main(plot):
    data = load("digits")
    lr, dropout = np.tile(RATES, len(SHARES)), np.repeat(SHARES, len(RATES))
    stopping = gn.EarlyStopping(PATIENCE)
    ensemble = gn.Ensemble(model, 64, "adam", lr=lr, dropout=dropout, callbacks=[stopping])
    began = time.perf_counter()
    histories = ensemble.fit(data.train, data.valid, EPOCHS)
    seconds = time.perf_counter() - began

    best = ensemble.best
    gn.seed(ensemble.seeds[best])
    alone = model()
    for layer in alone:
        if isinstance(layer, gn.Dropout):
            layer.p = float(dropout[best])
    optimizer = gn.Adam(alone.parameters(), lr=float(lr[best]))
    trainer = gn.Trainer(alone, gn.SoftmaxWithLoss(), optimizer, [gn.EarlyStopping(PATIENCE)])
    began = time.perf_counter()
    history = trainer.fit(data.train, data.valid, EPOCHS, seed=ensemble.seeds[best])
    one = time.perf_counter() - began
    assert history["valid_loss"] == histories[best]["valid_loss"], "alone it is the same"

    scores = np.array(ensemble.scores).reshape(len(SHARES), len(RATES))
    for share, row in zip(SHARES, scores, strict=True):
        k = int(row.argmin())
        print(f"dropout {share:.1f}: lowest validation loss {row[k]:.3f} at lr {RATES[k]:.4f}")
    lengths = [len(history) for history in histories]
    print(f"they stopped after {min(lengths)} to {max(lengths)} epochs")
    accuracy = ensemble.evaluate(data.test, [best])[0]["accuracy"]
    print(f"the best: dropout {dropout[best]}, lr {lr[best]:.4f}, {accuracy:.1%} right on the test")
    print(f"64 networks {seconds:.1f} s, the best of them alone {one:.1f} s")
    if plot:
        draw(scores)


def draw(scores):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for share, row in zip(SHARES, scores, strict=True):
        axes.plot(RATES, row, marker="o", markersize=3, label=f"dropout {share:g}")
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="lowest validation loss")
    axes.legend(frameon=False)
    axes.grid(alpha=0.25)
    figure.savefig("sweep.png", dpi=150)


if __name__ == "__main__":
    main("--plot" in sys.argv[1:])
