"""A problem on which SGD ends above Adam: more features than rows, and a few that mislead.

Each row says yes or no. Feature 0 is the answer, features 1 and 2 are always 1, and every row has
features of its own that no other row has: one if the answer is yes, five if it is no. Three rows of
four say yes. (Wilson, Roelofs, Stern, Srebro & Recht 2017, section 3.3.)

What to notice: both fit the training rows without a mistake, and there are many ways to do so. SGD
stays among weights that are sums of rows, and new rows are told by feature 0. AdaGrad and Adam
take steps of about the same length for every feature, rare or not, so that features 1 and 2, which
say "yes is more frequent", outweigh it: new rows are nearly all taken for yes. It is a problem made
for the purpose; with weight decay, or more rows than features, the difference goes.
"""

import numpy as np

import gpunet as gn

ROWS, YES, STEPS, SEEDS = 40, 0.75, 300, 10
RULES = {  # by the square loss; rates at which all three fit the training rows
    "SGD": (gn.SGD, 0.01),
    "AdaGrad": (gn.AdaGrad, 0.02),
    "Adam": (gn.Adam, 0.005),
}


def rows(count, first, width, rng):
    """x (count, width) and answers -1 or 1; features of their own from column `first` on."""
    t = np.where(rng.random(count) < YES, 1.0, -1.0)
    x = np.zeros((count, width))
    x[:, 0], x[:, 1:3] = t, 1.0
    for k, answer in enumerate(t):
        x[k, first + 5 * k : first + 5 * k + (1 if answer > 0 else 5)] = 1.0
    return x, t[:, None]


def train(rule, lr, x, t):
    """The weights of a layer without a bias, from 0."""
    weights = gn.Parameter(np.zeros((x.shape[1], 1)))
    optimizer = rule([weights], lr=lr)
    for _ in range(STEPS):
        weights.grad = x.T @ (x @ weights.data - t) / len(x) * 2
        optimizer.step()
    return weights.data


def main():
    correct = {name: [] for name in RULES}
    fits = {name: [] for name in RULES}
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        width = 3 + 5 * (ROWS + 200)
        x, t = rows(ROWS, 3, width, rng)
        new_x, new_t = rows(200, 3 + 5 * ROWS, width, rng)
        for name, (rule, lr) in RULES.items():
            weights = train(rule, lr, x, t)
            fits[name].append(np.mean(np.sign(x @ weights) == t))
            correct[name].append(np.mean(np.sign(new_x @ weights) == new_t))
    print(f"share of rows that are right, mean and deviation of {SEEDS} seeds")
    for name in RULES:
        print(
            f"  {name:8} training {np.mean(fits[name]):.3f}, new rows {np.mean(correct[name]):.3f} "
            f"+- {np.std(correct[name]):.3f}"
        )
    apart = np.subtract(correct["SGD"], correct["Adam"])
    print(f"SGD above Adam by {apart.mean():.3f} +- {apart.std():.3f}, in {np.mean(apart > 0):.0%}")


if __name__ == "__main__":
    main()
