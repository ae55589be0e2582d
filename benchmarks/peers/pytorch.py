"""PyTorch: eager, with a fused optimizer, compiled; on a GPU also as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.peers.base import MOMENTUM, THREADS, Make, Training, Update
from benchmarks.workloads import Task, Workload

VERSIONS = {"torch": torch.__version__}
WARM = 3  # steps before a capture, as PyTorch's documentation asks for

torch.set_num_threads(THREADS)


def network(task: Task) -> nn.Sequential:
    """The workload's network with the task's weights; biases are 0."""
    layers: list[nn.Module] = []
    for k, W in enumerate(task.start):
        linear = nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(W.T)))
            linear.bias.zero_()
        layers.append(linear)
        if k < len(task.start) - 1:
            layers += [nn.BatchNorm1d(W.shape[1])] if task.workload.batch_norm else []
            layers.append(nn.ReLU())
            layers += [nn.Dropout(task.dropout)] if task.dropout else []
    return nn.Sequential(*layers).to(task.device)


def optimizer(workload: Workload, parameters: Any, **how: Any) -> torch.optim.Optimizer:
    if workload.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=workload.lr, **how)
    share = MOMENTUM if workload.optimizer == "momentum" else 0.0
    return torch.optim.SGD(parameters, lr=workload.lr, momentum=share, **how)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


class Eager(Training):
    """`compiled`: the mode of torch.compile for the network and its loss."""

    def __init__(self, task: Task, compiled: str | None = None, **how: Any) -> None:
        self.device = task.device
        super().__init__(task)
        self.model = network(task)
        self.optimizer = optimizer(task.workload, self.model.parameters(), **how)
        self.fresh = compiled == "reduce-overhead"  # its outputs live until the next step begins
        self.loss: Callable[[Any, Any], Any] = self._loss
        if compiled is not None:
            torch._dynamo.reset()
            self.loss = torch.compile(self._loss, mode=compiled)

    def _loss(self, x: Any, t: Any) -> Any:
        return nn.functional.cross_entropy(self.model(x), t)

    def place(self, array: np.ndarray) -> Any:
        return torch.from_numpy(array).to(self.device)

    def update(self, x: Any, t: Any) -> Any:
        if self.fresh:
            torch.compiler.cudagraph_mark_step_begin()
        self.optimizer.zero_grad()
        loss = self.loss(x, t)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def wait(self) -> None:
        wait(self.device)


class Captured(Eager):
    """The eager step, captured once by hand; a replay reads the arrays that were captured."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, fused=True, **_capturable(task.workload))
        rows = task.workload.batch
        self.in_x, self.in_t = self.x[:rows].clone(), self.t[:rows].clone()
        self.begin = {k: v.clone() for k, v in self.model.state_dict().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM):
                super().update(self.in_x, self.in_t)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.out = super().update(self.in_x, self.in_t)
        self._forget()

    def _forget(self) -> None:
        """Undo the warm-up, in the arrays that the graph knows."""
        self.model.load_state_dict(self.begin)
        for state in self.optimizer.state.values():
            for value in state.values():
                if torch.is_tensor(value):
                    value.zero_()

    def update(self, x: Any, t: Any) -> Any:
        if self.batches is not None:  # else the batch is there already
            self.in_x.copy_(x)
            self.in_t.copy_(t)
        self.graph.replay()
        return self.out


def _capturable(workload: Workload) -> dict[str, bool]:
    return {"capturable": True} if workload.optimizer == "adam" else {}


class TorchUpdate(Update):
    def __init__(self, task: Task, compiled: bool = False, **how: Any) -> None:
        super().__init__(task)
        self.parameters = [nn.Parameter(torch.from_numpy(p).to(task.device)) for p in _copies(task)]
        for p, g in zip(self.parameters, task.gradients, strict=True):
            p.grad = torch.from_numpy(g).to(task.device, copy=True)
        step = optimizer(task.workload, self.parameters, **how).step
        if compiled:
            torch._dynamo.reset()
        self.step = torch.compile(step) if compiled else step

    def scale(self, ratio: float) -> None:
        for p in self.parameters:
            p.grad *= ratio

    def tensors(self) -> list[Any]:
        return self.parameters

    def to_host(self, array: Any) -> np.ndarray:
        return array.detach().cpu().numpy()

    def wait(self) -> None:
        wait(self.task.device)


def _copies(task: Task) -> list[np.ndarray]:
    """from_numpy shares memory, and the update would change the task."""
    return [p.copy() for p in task.start]


def peers(workload: Workload, device: str) -> dict[str, Make]:
    if not workload.sizes:
        return {
            "PyTorch eager": TorchUpdate,
            "PyTorch fused optimizer": partial(TorchUpdate, fused=True),
            "PyTorch compile": partial(TorchUpdate, compiled=True),
        }
    found: dict[str, Make] = {
        "PyTorch eager": Eager,
        "PyTorch fused optimizer": partial(Eager, fused=True),
        "PyTorch compile": partial(Eager, compiled="default", fused=True),
    }
    if device == "cuda":
        found["PyTorch reduce-overhead"] = partial(Eager, compiled="reduce-overhead", fused=True)
        found["PyTorch CUDA graph"] = Captured
    return found
