"""An ONNX graph while it is written: nodes one after the other, constants, and what goes in."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

OPSET = 17  # of 2022, which every runtime in use reads
ML, ML_OPSET = "ai.onnx.ml", 3  # its operators for text


class Graph:
    """The nodes and constants written so far; `last` is the name of the value they end in, `dtype`
    what it has. inputs: (name, dtype, columns) of all that goes in.
    """

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx, self.last, self.dtype = onnx, "", np.dtype(np.float32)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[tuple[str, np.dtype[Any], int]] = []

    def input(self, name: str, dtype: Any, columns: int) -> None:
        """A new input (batch, columns), which is `last` now; dtype str for text."""
        self.last, self.dtype = name, np.dtype(dtype)
        self.inputs.append((name, self.dtype, columns))

    def constant(self, value: Any) -> str:
        """The name of a new constant."""
        name = f"/c{len(self.constants)}"
        array = np.ascontiguousarray(value)
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def node(self, kind: str, *constants: Any, name: str = "", **attributes: Any) -> None:
        """A node of `last`, the value of that name and constants; its output becomes `last`."""
        named = [name] if name else []
        self.join(kind, [self.last, *named, *map(self.constant, constants)], **attributes)

    def join(self, kind: str, names: list[str], **attributes: Any) -> None:
        """A node of the values of these names; its output becomes `last`."""
        self.last = f"/v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, names, [self.last], **attributes))

    def cast(self, dtype: Any) -> None:
        """What `last` is, as another type."""
        self.dtype = np.dtype(dtype)
        self.node("Cast", to=self.onnx.helper.np_dtype_to_tensor_dtype(self.dtype))

    def file(self, output: str, columns: int, words: dict[str, str]) -> Any:
        """The ONNX model around the nodes, checked. words: its metadata."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [self.last], [output]))
        helper = self.onnx.helper
        ends = [
            helper.make_tensor_value_info(
                name,
                self.onnx.TensorProto.STRING
                if dtype.kind == "U"
                else helper.np_dtype_to_tensor_dtype(dtype),
                ("batch", size),
            )
            for name, dtype, size in [*self.inputs, (output, self.dtype, columns)]
        ]
        whole = helper.make_graph(self.nodes, "gpunet", ends[:-1], ends[-1:], self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
        used = opsets if any(node.domain == ML for node in self.nodes) else opsets[:1]
        model = helper.make_model(whole, opset_imports=used, producer_name="gpunet", ir_version=8)
        helper.set_model_props(model, words)
        self.onnx.checker.check_model(model, full_check=True)
        return model
