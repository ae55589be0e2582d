"""Writes gpunet/optim/__init__.pyi, by which type checkers know the optimizers found at run time.

python -m tests.tools.make_stub
"""

from __future__ import annotations

from pathlib import Path

from gpunet import optim

STUB = Path(optim.__file__).with_suffix(".pyi")
TEXT = """\
# What gpunet/optim/__init__.py finds at run time; made by python -m tests.tools.make_stub
{imports}

OPTIMIZERS: dict[str, type[Optimizer]]

__all__ = [
{names}
]
"""


def text() -> str:
    kinds = [optim.Optimizer, *optim.OPTIMIZERS.values()]
    imports = sorted(f"from {kind.__module__} import {kind.__name__}" for kind in kinds)
    names = sorted(optim.__all__, key=lambda name: (not name.isupper(), name))  # as ruff has them
    listed = [f'    "{name}",' for name in names]
    return TEXT.format(imports="\n".join(imports), names="\n".join(listed))


if __name__ == "__main__":
    STUB.write_text(text(), "utf-8")
