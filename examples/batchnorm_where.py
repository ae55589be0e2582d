"""BatchNorm: on which layers, against what, with which batches, and with which eps.

What to notice: weights that start too small (std 0.01) are mended by BatchNorm in every layer, and
on some layers only as far as the last of them reaches: what lies behind it dies out as before. What
a layer is given keeps moving while those before it learn, and BatchNorm holds it in place: the
Probe measures by how much. A row's output depends on the rows beside it, the more the fewer there
are: noise, as the root of 1 / B. And eps counts as soon as variances come near it: with weights of
std 0.0001 the first layer's are about 1e-7, a hundredth of eps = 1e-5.

    python examples/batchnorm_where.py
"""

import numpy as np

import gpunet as gn
from gpunet.data import load

WIDTH, DEPTH = 50, 4


def network(norms, std=0.01, eps=1e-5, activation=gn.ReLU):
    """64-50-50-50-50-10; norms: the numbers of the hidden layers with BatchNorm."""
    gn.seed(0)
    layers, before = [], 64
    for k in range(DEPTH):
        layers.append(gn.Affine(before, WIDTH, init=gn.Normal(std)))
        layers += [gn.BatchNorm(WIDTH, eps=eps)] if k in norms else []
        layers.append(activation())
        before = WIDTH
    return gn.Sequential(*layers, gn.Affine(before, 10, init=gn.Normal(std)))


def train(model, data, epochs, callbacks=()):
    optimizer = gn.Momentum(model.parameters(), lr=0.05)
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, callbacks, progress=False)
    history = trainer.fit(data.train, data.valid, epochs=epochs, batch_size=32)
    return history["train_loss"][-1], history["valid_accuracy"][-1]


def on_some_layers(data):
    print("weights of std 0.01, 5 epochs: training loss, validation accuracy")
    for name, norms in {
        "none": (),
        "the first": (0,),
        "the first three": (0, 1, 2),
        "every second": (1, 3),
        "the last": (3,),
        "all": (0, 1, 2, 3),
    }.items():
        loss, accuracy = train(network(norms), data, 5)
        print(f"  {name:16} {loss:.3f} {accuracy:.3f}")


def covariate_shift(data):
    """How far the mean of what the last layer is given moves in an epoch, in deviations of it."""
    print("what the last layer is given, std 0.15: its mean's way in an epoch, over its deviation")
    for name, norms in {"without": (), "with BatchNorm": (0, 1, 2, 3)}.items():
        model = network(norms, std=0.15)
        probe = gn.study.Probe(data.train, warn=False)
        train(model, data, 6, [probe])
        looks = probe.of(probe.layers[-2])
        means = np.array([look.mean for look in looks])
        spreads = np.array([look.spread for look in looks])
        ways = np.abs(np.diff(means)) / spreads[:-1]
        grown = spreads.max() / spreads.min()
        print(f"  {name:14} {' '.join(f'{w:.2f}' for w in ways)}; deviation grew {grown:.1f} times")


def noise_of_batches(data):
    """The deviation of one row's output over 200 batches that it is in, by their size."""
    rng = np.random.default_rng(0)
    norm = gn.BatchNorm(64)
    x = data.train.x
    varied = np.flatnonzero(x.std(axis=0) > 0.1)
    print("one row among others: the deviation of its output, times the root of the batch size")
    for size in (2, 8, 32, 128):
        with gn.no_grad():
            found = [
                norm(np.concatenate([x[:1], x[rng.integers(1, len(x), size - 1)]])).data[0, varied]
                for _ in range(200)
            ]
        noise = float(np.std(found, axis=0).mean())
        print(f"  batches of {size:3}: {noise:.3f}, {noise * size**0.5:.2f}")


def eps_at_small_weights(data):
    print("weights of std 0.0001: spread behind the 1st and the 4th BatchNorm, loss after 5 epochs")
    for eps in (1e-5, 1e-6, 1e-7, 1e-12):
        model = network((0, 1, 2, 3), std=1e-4, eps=eps)
        spreads, x = [], data.train.x[:256]
        with gn.no_grad():
            for layer in model:
                x = layer(x)
                if isinstance(layer, gn.BatchNorm):
                    spreads.append(float(x.data.std()))
        loss, accuracy = train(model, data, 5)
        print(f"  eps {eps:.0e}: {spreads[0]:.3f} {spreads[-1]:.4f}; {loss:.3f}, {accuracy:.3f}")


def main():
    data = load("digits")
    on_some_layers(data)
    covariate_shift(data)
    noise_of_batches(data)
    eps_at_small_weights(data)


if __name__ == "__main__":
    main()
