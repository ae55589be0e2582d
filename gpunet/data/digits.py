"""The digits that come with gpunet: 1,797 handwritten ones, 8x8 pixels.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, doi 10.24432/C50P49, licensed CC BY 4.0. See README.md beside this file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gpunet.data.dataset import SHARES, Dataset, Shares, split

FILE = Path(__file__).with_name("digits.npz")
WHITE = 16.0


def digits(normalise: bool = True, shares: Shares = SHARES) -> Dataset:
    """The digits: train 1,257, valid 180 and test 360 rows of 64 pixels, labels int64 0..9.

    x is float32 in [0, 1], the pixels divided by 16, or with `normalise=False` uint8 in 0..16.
    The parts are those of `split` with these `shares`, the same on every platform. The images are
    the test part of the original data, and each writer's digits may be in all three parts, so
    that accuracies are a little higher than with the original's separate writers.
    """
    with np.load(FILE, allow_pickle=False) as file:
        x, t = file["x"], file["t"].astype(np.int64)
    names = tuple("0123456789")
    dataset = Dataset("digits", *split(x, t, *shares), names, shape=(8, 8))
    return dataset.rescaled(0.0, WHITE) if normalise else dataset
