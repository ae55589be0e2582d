"""A curve through sixteen noisy points: large weights, weight decay, depth.

What to notice: a sigmoid of w x + b rises over a width of about 4 / w: large weights make steep
steps, and a sum of steep steps goes through every point and swings between. Weight decay keeps the
weights small and the curve smooth; it no longer goes through the points, and is nearer to the
truth. More layers do not smooth of themselves: three, without decay, make the steepest curve.

    python examples/smooth_fits.py --plot     # also writes smooth_fits.png
"""

import sys

import numpy as np

import gpunet as gn

FITS = {  # hidden layers, deviation of the first weights, weight decay
    "small weights": ([40], 1.0, 0.0),
    "large weights": ([40], 20.0, 0.0),
    "large weights, decay": ([40], 20.0, 0.2),
    "three layers": ([40, 40, 40], 1.0, 0.0),
    "three layers, decay": ([40, 40, 40], 1.0, 0.3),
}
GRID = np.linspace(-1, 1, 401)[:, None]


def truth(x):
    return np.sin(3 * x)


def points(seed=0):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-1, 1, (16, 1)), axis=0)
    return x, truth(x) + 0.25 * rng.standard_normal((16, 1))


def fit(hidden, std, decay, steps=1500):
    """The trained curve over GRID, its error at the points, the first layer's largest weight."""
    gn.seed(0)
    layers, before = [], 1
    for size in hidden:
        init = gn.Normal(std) if before == 1 else gn.Xavier()
        layers += [gn.Affine(before, size, init=init, dtype=np.float64), gn.Sigmoid()]
        before = size
    model = gn.Sequential(*layers, gn.Affine(before, 1, dtype=np.float64))
    first = model.parameters()
    first[1].data[:] = -first[0].data[0] * np.linspace(-1, 1, hidden[0])  # steps all over the range
    x, t = points()
    optimizer = gn.AdamW(model.parameters(), lr=0.01, weight_decay=decay)
    step = gn.Step(model, gn.MeanSquaredError(), optimizer)
    for _ in range(steps):
        step(x, t)
    with gn.no_grad():
        curve, at_points = model(GRID).data, model(x).data
    return curve, np.sqrt(np.mean((at_points - t) ** 2)), np.abs(model.parameters()[0].data).max()


def main():
    for w in (1, 10, 100):
        rise = np.ptp(
            GRID[(1 / (1 + np.exp(-w * GRID)) > 0.1) & (1 / (1 + np.exp(-w * GRID)) < 0.9)]
        )
        print(f"sigmoid({w} x): steepest slope {w / 4:g}, from 0.1 to 0.9 in {rise:.2f}")
    print(
        "a fit to 16 noisy points: error at the points, from the truth; steepest slope; largest w"
    )
    curves = {}
    for name, (hidden, std, decay) in FITS.items():
        curve, error, largest = fit(hidden, std, decay)
        curves[name] = curve
        off = np.sqrt(np.mean((curve - truth(GRID)) ** 2))
        slope = np.abs(np.gradient(curve[:, 0], GRID[:, 0])).max()
        print(f"  {name:20}: {error:.3f}, {off:.3f}; {slope:5.1f}; {largest:5.1f}")
    return curves


def plot(curves):
    from gpunet.study.lines import line
    from gpunet.study.pictures import new_figure, save_figure

    figure = new_figure(13, 3)
    x, t = points()
    panels = figure.subplots(1, len(curves), sharey=True)
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        axes.plot(GRID, truth(GRID), **line(0, width=1))
        axes.plot(x, t, "o", color="black", markersize=3)
        axes.plot(GRID, curve, **line(1))
        axes.set(title=name, xlabel="x", ylim=(-2, 2))
    save_figure(figure, "smooth_fits.png")


if __name__ == "__main__":
    found = main()
    if "--plot" in sys.argv:
        plot(found)
