"""An optimizer of your own: signum.cu beside this file, and the class below.

What to notice: the .cu file holds the formula and, in its first lines, the signature; the class
holds what CUDA cannot, the defaults and the NumPy reference. Everything else is inherited: one
launch for all parameters, weight decay, clipping, schedules, groups, saving.
Where g++ is installed the CUDA text itself runs, on the simulated GPU, and agrees.
"""

import numpy as np

import gpunet as gn
from gpunet.data import load
from gpunet.testing import simgpu


class Signum(gn.Optimizer):
    """Every weight moves by lr, up or down."""

    lr: gn.schedules.Rate = 1e-3
    momentum: float = 0.9

    @staticmethod
    def reference(grad, lr, momentum, param, average):
        """The header's names in the header's order; param and state are changed in place."""
        average *= momentum
        average += (1 - momentum) * grad
        param -= lr * np.sign(average)


print("state arrays, from the header:", [slot.name for slot in Signum.kernel.source.outputs[1:]])

gn.seed(0)
data = load("digits")
model = gn.MLP([64, 100, 10])
opt = Signum(model.parameters(), lr=gn.schedules.cosine(2e-3, steps=400), clip_norm=10.0)
trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), opt)
trainer.fit(data.train, epochs=10, batch_size=32)
print(f"{opt.t} updates; test accuracy {trainer.evaluate(data.test)['accuracy']:.3f}")

usable, reason = simgpu.available()
if usable:
    rng = np.random.default_rng(0)
    start = rng.standard_normal(1000).astype(np.float32)
    on_cpu, on_gpu = start.copy(), None
    by_numpy, by_cuda = Signum(), Signum()
    with simgpu.activate() as cupy:
        on_gpu = cupy.asarray(start)
        for _ in range(20):
            grad = rng.standard_normal(1000).astype(np.float32)
            by_numpy.update({"w": on_cpu}, {"w": grad})
            by_cuda.update({"w": on_gpu}, {"w": cupy.asarray(grad)})
        difference = np.abs(on_cpu - on_gpu.get()).max()
    print(f"CUDA text against reference after 20 updates: largest difference {difference:.1e}")
else:
    print(f"the CUDA text was not run here: {reason}")
