"""XOR by every optimizer: four points that no straight line divides, a network of 2-8-1.

What to notice: with a learning rate that suits it (found by trying, in the table below) every
optimizer solves it from all five starts, but not in the same number of steps. RProp, meant for
exact gradients, is among the fast ones here: four points make one batch. Without the hidden layer
none solves it at all.
"""

import numpy as np

import gpunet as gn

RATES = {  # the others, Adam's kin: 0.1
    "sgd": 1.0,
    "momentum": 0.3,
    "nesterov": 0.3,
    "adagrad": 0.3,
    "rmsprop": 0.03,
    "rprop": 0.03,
    "adadelta": 10.0,
    "cocob": None,
    "lion": 0.03,
}
SEEDS = range(5)

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
t = np.array([0, 1, 1, 0], np.float32)


def steps_to_solve(name, hidden, seed, most=2000):
    """Full-batch steps until every point is on its side with probability 0.9, or None."""
    gn.seed(seed)
    model = gn.MLP([2, *hidden, 1], activation="tanh")
    lr = RATES.get(name, 0.1)
    rate = {} if lr is None else {"lr": lr}
    opt = gn.OPTIMIZERS[name](model.parameters(), **rate)
    loss_fn = gn.SigmoidWithLoss()
    for step in range(most):
        z = model(x)
        p = 1 / (1 + np.exp(-np.clip(z.data[:, 0], -50, 50)))
        if (np.abs(p - t) < 0.1).all():
            return step
        loss = loss_fn(z, t)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return None


def main():
    for name in gn.OPTIMIZERS:
        steps = [steps_to_solve(name, [8], seed) for seed in SEEDS]
        solved = sorted(s for s in steps if s is not None)
        middle = solved[len(solved) // 2] if solved else "-"
        print(f"{name:10} solves {len(solved)} of {len(steps)} starts, in {middle} steps (median)")
    alone = [name for name in gn.OPTIMIZERS if steps_to_solve(name, [], 0, 300) is not None]
    print(f"without the hidden layer: solved by {len(alone)} of {len(gn.OPTIMIZERS)}")


if __name__ == "__main__":
    main()
