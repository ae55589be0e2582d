"""Early stopping: 300 digits, a fifth of the labels drawn anew at random, a network large enough
to learn them by heart.

What to notice: both runs start alike and are alike to the last digit until one of them stops. The
training loss falls all the way, for random labels can be learned by heart too; the validation loss
turns early. `EarlyStopping` waits `patience` epochs for a new best, then goes back to the best.
Stopping at a training error that is small enough, or after a number of epochs, needs no validation
rows, and one has to know the number: a loss of 0.1 is late here, 20 epochs happen to be right.

    python examples/early_stopping.py --plot     # also writes early_stopping.png
"""

import sys

import numpy as np

import gpunet as gn
from gpunet.data import load


def noisy_digits(rows=300, share=0.2, seed=0):
    """The first training rows; a share of their labels is drawn anew from all ten digits."""
    data = load("digits")
    x, t = data.train.x[:rows], data.train.t[:rows].copy()
    rng = np.random.default_rng(seed)
    drawn = rng.random(rows) < share
    t[drawn] = rng.integers(0, 10, drawn.sum())
    return data, (x, t)


def train(callbacks, epochs=100):
    gn.seed(1)
    data, noisy = noisy_digits()
    model = gn.MLP([64, 100, 100, 100, 10])
    optimizer = gn.Adam(model.parameters(), lr=1e-3)
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks, progress=False)
    trainer.fit(noisy, data.valid, epochs=epochs, batch_size=50)
    return trainer, trainer.evaluate(data.test)


def main():
    full, full_test = train([])
    stopped, stopped_test = train([gn.EarlyStopping(patience=10)])
    for row in full.history.rows[9::15]:
        print(
            f"epoch {row['epoch']:3}: training loss {row['train_loss']:.3f}, "
            f"validation loss {row['valid_loss']:.3f}"
        )
    history = stopped.history
    same = history["train_loss"] == full.history["train_loss"][: len(history)]
    print(f"stopped after epoch {len(history)}: {history.stopped}; same so far: {same}")
    print(f"weights of epoch {history.kept} are back")
    by_error, by_error_test = train([gn.StopAtLoss(0.1)])
    _, by_epoch_test = train([], epochs=20)
    print(f"at a training loss of 0.1: after epoch {len(by_error.history)}")
    for name, test in (
        ("to the end", full_test),
        ("stopped", stopped_test),
        ("at a loss", by_error_test),
        ("20 epochs", by_epoch_test),
    ):
        print(f"{name:10}: test loss {test['loss']:.3f}, accuracy {test['accuracy']:.3f}")
    return full.history


if __name__ == "__main__":
    found = main()
    if "--plot" in sys.argv:
        from gpunet.study.history_picture import save_curves

        save_curves(found, "early_stopping.png", "300 digits, a fifth of the labels random")
