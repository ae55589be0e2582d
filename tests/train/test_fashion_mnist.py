"""A real training on NumPy: Fashion-MNIST in three epochs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gpunet as gn

FOLDER = Path("/usr/share/datasets/fashion-mnist")

TRAINING = """
import sys
import gpunet as gn
from gpunet.data import load

data = load(sys.argv[1])
gn.seed(0)
model = gn.MLP([784, 256, 128, 10], batch_norm=True, dropout=0.5)
trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()))
history = trainer.fit(data.train, data.valid, epochs=3, batch_size=128)
print(trainer.evaluate(data.test)["accuracy"], history["valid_accuracy"][-1])
"""


@pytest.mark.skipif(not FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_three_epochs() -> None:
    """In a process with one BLAS thread: where cores are shared, more make it ten times slower."""
    environment = {"PYTHONPATH": str(Path(gn.__file__).parents[1]), "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", TRAINING, str(FOLDER)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    test, valid = map(float, result.stdout.split())
    assert test >= 0.85
    assert valid == pytest.approx(test, abs=0.03)
