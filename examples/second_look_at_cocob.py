"""A second look at COCOB: the paper's form, and the widespread one that adds its bets up.

COCOB bets a share of what it has won so far on the sign of the next gradient. The paper (Orabona &
Tommasi 2017, Algorithm 2) sets the weight to w1 + bet, with w1 the first weight. Many programs add
the bet to the last weight instead, so that all bets pile up.

What to notice: for the first epochs the wrong form looks like the better one, which is how the
mistake stays unseen. Then its loss climbs and the network forgets everything, while the paper's
form keeps falling. The cure for it that one reads about, early stopping, treats the symptom. And
alpha, the one number that COCOB has, hardly matters from 10 to 1,000: the first step of every
weight is 1 / alpha. At 1 that step is longer than the weights, and the network does not recover.

    python examples/second_look_at_cocob.py --plot     # also writes second_look_at_cocob.png
"""

import sys

import numpy as np

import gpunet as gn
from gpunet.colours import COLOURS
from gpunet.data import load


class AddedUp(gn.COCOB):
    """The mistake: param += bet where the paper has param = w1 + bet."""

    def __init__(self, parameters):
        super().__init__(parameters)
        self.first = [p.data.copy() for p in self.parameters]

    def step(self):
        last = [p.data.copy() for p in self.parameters]
        super().step()  # every parameter is now w1 + bet
        for p, w, w1 in zip(self.parameters, last, self.first, strict=True):
            p.data = w + (p.data - w1)


def on_a_line(kind, steps):
    """|x - 10| from x = 0."""
    x = gn.Parameter(np.zeros(1))
    opt = kind([x])
    path = [0.0]
    for _ in range(steps):
        opt.zero_grad()
        (x - 10).abs().sum().backward()
        opt.step()
        path.append(x.data.item())
    return np.array(path)


def on_digits(kind, epochs, seed=0):
    """The training loss of every epoch, and the test accuracy at the end."""
    gn.seed(seed)
    data = load("digits")
    model = gn.MLP([64, 100, 100, 10])
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), kind(model.parameters()), progress=False)
    history = trainer.fit(data.train, epochs=epochs, batch_size=100)
    return np.array(history["train_loss"]), trainer.evaluate(data.test)["accuracy"]


def by_alpha(alpha, epochs=20):
    """The training loss and the test accuracy of a smaller network."""
    gn.seed(0)
    data = load("digits")
    model = gn.MLP([64, 32, 10])
    optimizer = gn.COCOB(model.parameters(), alpha=alpha)
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, progress=False)
    history = trainer.fit(data.train, epochs=epochs, batch_size=32)
    return (
        history["train_loss"][0],
        history["train_loss"][-1],
        trainer.evaluate(data.test)["accuracy"],
    )


def main():
    forms = {"paper": gn.COCOB, "added up": AddedUp}
    print("|x - 10| from 0: farthest from 10 in steps 1-100, 101-500, 501-2000")
    for name, kind in forms.items():
        distance = np.abs(on_a_line(kind, 2000) - 10)
        spans = [distance[1:101].max(), distance[101:501].max(), distance[501:].max()]
        print(f"  {name:8}: " + ", ".join(f"{d:.2f}" for d in spans))

    print("digits, 64-100-100-10: training loss after epoch 1, 2, 5, 10, 20, 40, 60")
    curves = {}
    for name, kind in forms.items():
        losses, accuracy = on_digits(kind, 60)
        curves[name] = losses
        shown = " ".join(f"{losses[k - 1]:.4f}" for k in (1, 2, 5, 10, 20, 40, 60))
        print(f"  {name:8}: {shown}; test accuracy {accuracy:.3f}")
        low, peak = losses.min(), losses[losses.argmin() :].max()
        print(f"            lowest {low:.4g} in epoch {losses.argmin() + 1}, then up to {peak:.4g}")
    print("digits, 64-32-10, 20 epochs: training loss after the first and the last, test accuracy")
    for alpha in (1, 10, 30, 100, 1000):
        first, last, accuracy = by_alpha(alpha)
        print(f"  alpha {alpha:4}: {first:.3f} {last:.3f} {accuracy:.3f}")
    return curves


def plot(curves):
    from gpunet.study.pictures import new_figure, save_figure

    figure = new_figure(7, 4)
    axes = figure.subplots()
    for (name, losses), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(np.arange(1, len(losses) + 1), losses, color=colour, label=name)
    axes.set(yscale="log", xlabel="epoch", ylabel="training loss", title="COCOB on digits")
    axes.legend(frameon=False)
    save_figure(figure, "second_look_at_cocob.png")


if __name__ == "__main__":
    found = main()
    if "--plot" in sys.argv:
        plot(found)
