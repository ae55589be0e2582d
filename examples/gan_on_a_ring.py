"""A small GAN on a ring of eight Gaussians, by Adam and by COCOB.

A generator makes points of noise, a discriminator tells them from real ones, and each trains
against the other (Goodfellow et al. 2014): what one has to learn moves while it learns.

What to notice: one reads that COCOB is unfit for this, since its weights are w1 plus a bet on the
sum of all past gradients, which says little of an opponent that turns round. Here it is not so:
COCOB begins more slowly than Adam at its best rate and far ahead of Adam at 0.001, and after
thousands of updates (--long) they are level. One small GAN is no proof for large ones; it is enough
to say that "unfit" does not hold in general.

    python examples/gan_on_a_ring.py --plot     # also writes gan_on_a_ring.png
    python examples/gan_on_a_ring.py --long     # minutes
"""

import sys

import numpy as np

import gpunet as gn

PLACES, SPREAD, NOISE, BATCH = 8, 0.1, 2, 64
RULES = {
    "Adam 0.001": lambda p: gn.Adam(p, lr=0.001, betas=(0.5, 0.999)),
    "Adam 0.005": lambda p: gn.Adam(p, lr=0.005, betas=(0.5, 0.999)),
    "COCOB": gn.COCOB,
}


def centres():
    angle = 2 * np.pi * np.arange(PLACES) / PLACES
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def real(count, rng):
    chosen = centres()[rng.integers(0, PLACES, count)]
    return (chosen + SPREAD * rng.standard_normal((count, 2))).astype(np.float32)


def train(rule, seed, steps):
    """The trained generator's points."""
    gn.seed(seed)
    rng = np.random.default_rng(seed)
    generator, critic = gn.MLP([NOISE, 32, 32, 2]), gn.MLP([2, 32, 32, 1])
    by_generator, by_critic = rule(generator.parameters()), rule(critic.parameters())
    loss = gn.SigmoidWithLoss()
    yes, no = np.ones((BATCH, 1), np.float32), np.zeros((BATCH, 1), np.float32)

    def noise(count):
        return rng.standard_normal((count, NOISE)).astype(np.float32)

    for _ in range(steps):
        fake = generator(noise(BATCH))
        both = np.concatenate([real(BATCH, rng), fake.data])
        by_critic.zero_grad()
        loss(critic(both), np.concatenate([yes, no])).backward()
        by_critic.step()

        by_generator.zero_grad()
        loss(critic(fake), yes).backward()
        by_generator.step()
    with gn.no_grad():
        return generator(noise(1000)).data


def judge(points):
    """The share of points within three deviations of a place, and how many places have 2 % of the
    points or more.
    """
    distance = np.linalg.norm(points[:, None] - centres(), axis=-1)
    near = distance.min(axis=1) < 3 * SPREAD
    counts = np.bincount(distance.argmin(axis=1)[near], minlength=PLACES)
    return near.mean(), int((counts >= len(points) / 50).sum())


def main(seeds=1, steps=500):
    found = {}
    print(f"{steps} updates of each network, {seeds} seed(s)")
    for name, rule in RULES.items():
        runs = [train(rule, seed, steps) for seed in range(seeds)]
        shares, places = zip(*(judge(points) for points in runs), strict=True)
        found[name] = runs[0]
        print(
            f"  {name:10} points on the ring's places {np.mean(shares):.2f}, "
            f"places reached {np.mean(places):.1f} of {PLACES}"
        )
    return found


def plot(found):
    from gpunet.study.lines import line
    from gpunet.study.pictures import new_figure, save_figure

    figure = new_figure(9, 3.4)
    truth = real(1000, np.random.default_rng(0))
    for axes, (name, points) in zip(figure.subplots(1, 3), found.items(), strict=True):
        axes.plot(*truth.T, ".", color=line(0)["color"], markersize=2, label="real")
        axes.plot(*points.T, ".", color=line(1)["color"], markersize=2, label=name)
        axes.set(title=name, xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
    save_figure(figure, "gan_on_a_ring.png")


if __name__ == "__main__":
    found = main(3, 4000) if "--long" in sys.argv else main()
    if "--plot" in sys.argv:
        plot(found)
