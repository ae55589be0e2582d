"""AdaMax beside Adam on sparse inputs: features that are there in one row of two, ten, a hundred.

A weight whose feature is missing has the gradient 0 in that row.

What to notice: both divide by what they have seen of a weight's gradients. Adam divides by the
root of an average, which gets small where most of them are 0: the rarer a feature, the longer the
way that its weight goes when it comes, the root of 100 = 10 times lr for one row of a hundred.
AdaMax divides by the largest, which no row without the feature makes smaller (beta2 does, to a
tenth in 2,300 rows): one lr for each row that has it. So Adam is ahead on rare features, and AdaMax
wants a larger rate.
"""

import numpy as np

import gpunet as gn

EVERY = (2, 10, 100)
STEPS, LR = 2000, 0.001


def travelled(kind, every):
    """How far a weight goes for each row that has its feature, in units of lr: every gradient there
    is 1, and 0 elsewhere.
    """
    weight = gn.Parameter(np.zeros(1))
    optimizer = kind([weight], lr=LR)
    halfway = 0.0
    for t in range(STEPS):
        weight.grad = np.array([float(t % every == 0)])
        optimizer.step()
        if t + 1 == STEPS // 2:
            halfway = weight.data.item()
    return abs(weight.data.item() - halfway) / LR / (STEPS // 2 / every)


def learn(kind, lr, seed=0, rows=2000, batch=10):
    """The mean error of the weights of frequent and of rare features, which all should be 1."""
    rng = np.random.default_rng(seed)
    share = np.repeat([1 / every for every in EVERY], 20)
    weights = gn.Parameter(np.zeros((len(share), 1)))
    optimizer = kind([weights], lr=lr)
    for _ in range(rows // batch):
        x = (rng.random((batch, len(share))) < share).astype(float)
        off = (
            x @ weights.data - x.sum(axis=1, keepdims=True) + 0.1 * rng.standard_normal((batch, 1))
        )
        weights.grad = x.T @ off / batch
        optimizer.step()
    return [float(np.abs(part - 1).mean()) for part in np.split(weights.data, len(EVERY))]


def main():
    print("how far a weight goes for each row that has its feature, in units of lr")
    for every in EVERY:
        steps = [travelled(kind, every) for kind in (gn.Adam, gn.AdaMax)]
        print(f"  one row of {every:3}: Adam {steps[0]:.2f}, AdaMax {steps[1]:.2f}")
    print(f"mean error of weights for features in one row of {', '.join(map(str, EVERY))}")
    for kind in (gn.Adam, gn.AdaMax):
        for lr in (0.03, 0.1, 0.3, 1.0):
            errors = " ".join(f"{error:.3f}" for error in learn(kind, lr))
            print(f"  {kind.__name__:6} lr {lr:4}: {errors}")


if __name__ == "__main__":
    main()
