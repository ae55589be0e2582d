"""Overfitting on 300 samples, with and without dropout and weight decay.

What to notice: with right labels the plain network learns its 300 digits by heart and still does
well on others: there is little to cure, and neither remedy helps here. With a fifth of the labels
drawn anew at random it learns the wrong ones by heart too, and pays for it on the test. Dropout and
weight decay keep it from that: a WORSE accuracy on the training rows, a better one on the test.

    python examples/dropout_and_weight_decay.py --plot   # also: dropout_and_weight_decay.png
"""

import sys

import numpy as np

import gpunet as gn
from gpunet.colours import COLOURS
from gpunet.data import load

SETTINGS = {  # dropout, weight decay
    "neither": (0.0, 0.0),
    "weight decay": (0.0, 2.0),
    "dropout": (0.4, 0.0),
    "both": (0.3, 1.0),
}
SEEDS = (1, 2)


def noisy_digits(share, rows=300):
    """The first training rows; a share of their labels is drawn anew from all ten digits."""
    data = load("digits")
    x, t = data.train.x[:rows], data.train.t[:rows].copy()
    rng = np.random.default_rng(0)
    drawn = rng.random(rows) < share
    t[drawn] = rng.integers(0, 10, drawn.sum())
    return data, (x, t)


def train(share, dropout, decay, seed, epochs=100):
    """The trainer, the accuracy on the training rows and on the test rows."""
    gn.seed(seed)
    data, few = noisy_digits(share)
    model = gn.MLP([64, 100, 100, 100, 10], dropout=dropout)
    optimizer = gn.AdamW(model.parameters(), lr=1e-3, weight_decay=decay)
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, progress=False)
    trainer.fit(few, data.valid, epochs=epochs, batch_size=50)
    return trainer, trainer.evaluate(few)["accuracy"], trainer.evaluate(data.test)["accuracy"]


def main():
    histories = {}
    for share, title in ((0.0, "right labels"), (0.2, "a fifth of the labels random")):
        print(f"300 digits, {title} (mean of {len(SEEDS)} seeds, 100 epochs):")
        for name in SETTINGS if share else ("neither", "both"):
            dropout, decay = SETTINGS[name]
            runs = [train(share, dropout, decay, seed) for seed in SEEDS]
            fit, test = (float(np.mean([run[k] for run in runs])) for k in (1, 2))
            print(f"  {name:12}: train {fit:.3f}, test {test:.3f}, gap {fit - test:+.3f}")
            if share:
                histories[name] = runs[0][0].history
    return histories


def plot(histories):
    from gpunet.study.pictures import new_figure, save_figure

    figure = new_figure(7, 4)
    axes = figure.subplots()
    for (name, history), colour in zip(histories.items(), COLOURS, strict=False):
        axes.plot(history["epoch"], history["valid_loss"], color=colour, label=name)
        axes.plot(
            history["epoch"], history["train_loss"], color=colour, linewidth=0.8, dashes=(4, 3)
        )
    axes.set(xlabel="epoch", ylabel="validation loss (dashed: training)", ylim=(0, 1.5))
    axes.legend(frameon=False)
    save_figure(figure, "dropout_and_weight_decay.png")


if __name__ == "__main__":
    found = main()
    if "--plot" in sys.argv:
        plot(found)
