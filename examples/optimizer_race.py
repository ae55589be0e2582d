"""A race: the same network, the same first weights, the same batches, all sixteen optimizers.

What to notice: at their default learning rates they are far apart; each at the best of five rates,
they end close together. But that best rate differs from one to the other by a factor of a hundred
and more, so a rate that suits one optimizer says nothing about the next. COCOB has no learning rate
and is among the good ones without a search. 180 validation rows cannot tell 0.94 from 0.96, and
five epochs on small digits are a short race: run it on your own problem.

    python examples/optimizer_race.py --plot     # also writes optimizer_race.png
    python examples/optimizer_race.py --long     # 20 epochs, mean of three seeds: some minutes
"""

import sys
import warnings
from statistics import mean

import gpunet as gn
from gpunet.data import load

RATES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
LONG = "--long" in sys.argv
EPOCHS, SEEDS = (20, (0, 1, 2)) if LONG else (5, (0,))
GOOD = 0.9  # validation accuracy; a rate that reaches it counts as one that works


class Result:
    """Of one optimizer at one rate, over the seeds; lr=None is the optimizer's default."""

    def __init__(self, kind, data, lr=None):
        self.runs = [self.train(kind, data, lr, seed) for seed in SEEDS]
        self.accuracy = mean(run["valid_accuracy"][-1] for run in self.runs)
        self.loss = mean(min(run["valid_loss"], key=sortable) for run in self.runs)

    @staticmethod
    def train(kind, data, lr, seed):
        gn.seed(seed)
        model = gn.MLP([64, 100, 10])
        rate = {} if lr is None else {"lr": lr}
        trainer = gn.Trainer(
            model,
            gn.SoftmaxWithLoss(),
            kind(model.parameters(), **rate),
            on_nonfinite="ignore",
            progress=False,
        )
        return trainer.fit(data.train, data.valid, epochs=EPOCHS, batch_size=64, seed=seed)


def sortable(loss):
    """nan is the worst of losses."""
    return loss if loss == loss else float("inf")


def main():
    data = load("digits")
    print(f"digits, 64-100-10, batches of 64, {EPOCHS} epochs, {len(SEEDS)} seed(s)")
    print("optimizer  at its default rate  at the best of five    loss  work")
    best = {}
    for name, kind in gn.OPTIMIZERS.items():
        default = best[name] = Result(kind, data)
        if not kind.has_lr:
            print(f"{name:10} {default.accuracy:.3f} (no rate){default.loss:29.3f}")
            continue
        tried = {rate: Result(kind, data, rate) for rate in RATES}
        rate = min(RATES, key=lambda rate: sortable(tried[rate].loss))
        best[name] = tried[rate]
        works = sum(result.accuracy >= GOOD for result in tried.values())
        print(
            f"{name:10} {default.accuracy:.3f} (lr {kind().lr:>7g}) "
            f"{best[name].accuracy:.3f} (lr {rate:>7g}) {best[name].loss:7.3f}   {works} of 5"
        )
    return {name: result.runs[0] for name, result in best.items()}


def plot(histories):
    from gpunet.study.pictures import new_figure, save_figure
    from gpunet.study.styles import style

    figure = new_figure(8, 5)
    axes = figure.subplots()
    for name, history in histories.items():
        look = style(name)
        axes.plot(
            history["epoch"],
            history["valid_loss"],
            label=look.label,
            **look.line(),
        )
    axes.set(xlabel="epoch", ylabel="validation loss", yscale="log", title="each at its best rate")
    axes.set_xticks(range(1, EPOCHS + 1))
    figure.legend(loc="outside right upper", frameon=False)
    save_figure(figure, "optimizer_race.png")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # lr 1 overflows in some
        found = main()
    if "--plot" in sys.argv:
        plot(found)
