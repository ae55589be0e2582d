"""Make gpunet/data/digits.npz from the file that scikit-learn's package carries.

    python tests/tools/make_digits.py [OUTPUT]

scikit-learn's file is the test part of E. Alpaydin and C. Kaynak, "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository, 1998, doi 10.24432/C50P49, CC BY 4.0.
numpy.savez dates every member 1980-01-01, so that the same zlib writes the same bytes.
"""

from __future__ import annotations

import gzip
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np

OUTPUT = Path(__file__).resolve().parents[2] / "gpunet" / "data" / "digits.npz"


def make(output: Path) -> None:
    """Write x, uint8 (1797, 64) in 0..16, and t, uint8 (1797,) in 0..9."""
    source = files("sklearn.datasets.data").joinpath("digits.csv.gz").read_bytes()
    table = np.loadtxt(gzip.decompress(source).decode("ascii").splitlines(), delimiter=",")
    pixels, labels = table[:, :-1].astype(np.uint8), table[:, -1].astype(np.uint8)
    assert table.shape == (1797, 65)
    assert (np.column_stack([pixels, labels]) == table).all()
    assert pixels.max() == 16
    assert labels.max() == 9
    np.savez_compressed(output, x=pixels, t=labels)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else OUTPUT)
