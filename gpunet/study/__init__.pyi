"""The names that gpunet.study gives, for editors and type checkers."""

from gpunet.study.batchnorm_walk import batchnorm as batchnorm
from gpunet.study.hessian import Curvature as Curvature
from gpunet.study.hessian import curvature as curvature
from gpunet.study.loss_surface import Surface as Surface
from gpunet.study.loss_surface import surface as surface
from gpunet.study.optimizer_walk import optimizer as optimizer
from gpunet.study.probe import Probe as Probe
from gpunet.study.second_order import lbfgs as lbfgs
from gpunet.study.second_order import newton as newton
from gpunet.study.sweeping import Sweep as Sweep
from gpunet.study.sweeping import sweep as sweep
from gpunet.study.trajectory import Trajectory as Trajectory
from gpunet.study.watch import watching as watching
from gpunet.study.words import spoken as spoken
