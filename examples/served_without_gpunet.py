"""A model that gpunet trained, served by onnxruntime, where gpunet is not installed.

What to notice: the ONNX file holds all of the way from raw pixels to probabilities, so the program
that serves it needs NumPy and onnxruntime alone. Here it runs in a process in which `import gpunet`
fails, and gives gpunet's probabilities to seven digits.

Needs onnx and onnxruntime: pip install 'gpunet[onnx]' onnxruntime
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import gpunet as gn
from gpunet.data import load

SERVER = """
import sys
import numpy, onnxruntime

try:
    import gpunet
except ImportError:
    print("no gpunet here")
session = onnxruntime.InferenceSession("digits.onnx")
pixels = numpy.load("pixels.npy")
(probability,) = session.run(["y"], {"x": pixels})
numpy.save("answer.npy", probability)
print("answered", len(pixels), "requests of", pixels.dtype, "pixels")
"""


def train():
    """An MLP that takes pixels from 0 to 16 as they are."""
    data = load("digits")
    gn.seed(0)
    layers = gn.MLP([64, 64, 10], batch_norm=True)
    model = gn.Sequential(gn.Rescale(1 / 16), layers)
    trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), gn.Adam(model.parameters()), progress=False)
    trainer.fit((data.train.x * np.float32(16), data.train.t), epochs=8)
    return model, data.test


def serve(folder):
    """What the other program prints, with gpunet hidden from it."""
    hidden = "import sys; sys.modules['gpunet'] = None\n"
    command = [sys.executable, "-c", hidden + SERVER]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout


def main():
    model, test = train()
    pixels = np.round(test.x * 16).astype(np.uint8)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gn.to_onnx(model, folder / "digits.onnx", softmax=True, dtype=np.uint8)
        np.save(folder / "pixels.npy", pixels)
        print(serve(folder), end="")
        answer = np.load(folder / "answer.npy")
    wanted = gn.functional.softmax(model.eval()(pixels.astype(np.float32))).data
    print(f"accuracy of the answers {(answer.argmax(axis=1) == test.t).mean():.3f}")
    print(f"largest difference to gpunet's probabilities {np.abs(answer - wanted).max():.1e}")


if __name__ == "__main__":
    main()
