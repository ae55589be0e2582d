"""Write allowlist.json: the names that the installed CuPy has, and their parameters.

    python -m gpunet.testing.simgpu.make_allowlist        # writes the file beside this one

Needs CuPy, which can be imported without a GPU. The stand-in offers a name only if it is listed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import warnings
from pathlib import Path
from typing import Any

OWNERS = (
    "cupy",
    "cupy.ndarray",
    "cupy.linalg",
    "cupy.random",
    "cupy.random.Generator",
    "cupy.cuda",
    "cupy.cuda.Device",
    "cupy.cuda.Event",
    "cupy.cuda.Graph",
    "cupy.cuda.MemoryPointer",
    "cupy.cuda.MemoryPool",
    "cupy.cuda.PinnedMemoryPool",
    "cupy.cuda.Stream",
    "cupy.cuda.compiler",
    "cupy.cuda.device",
    "cupy.cuda.driver",
    "cupy.cuda.graph",
    "cupy.cuda.memory",
    "cupy.cuda.pinned_memory",
    "cupy.cuda.runtime",
    "cupy.cuda.stream",
    "cupy.exceptions",
    "cupy.testing",
    "cupyx",
)
_STARS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}
_SPLIT = re.compile(r",\s*(?![^()\[\]{}]*[)\]}])")  # commas outside brackets


def describe(owner: Any) -> dict[str, list[str] | str | None]:
    """For each public name: "ufunc", the names of its parameters, or None where unknown."""
    names = [name for name in dir(owner) if not name.startswith("_") and hasattr(owner, name)]
    return {name: kind_of(getattr(owner, name)) for name in sorted(names)}


def kind_of(value: Any) -> list[str] | str | None:
    if type(value).__name__ == "ufunc":
        return "ufunc"
    return parameters(value) if callable(value) else None


def parameters(function: Any) -> list[str] | None:
    """The parameters' names as in a `def` line (`*` starts the keyword-only ones)."""
    try:
        return _from_signature(inspect.signature(function))
    except (TypeError, ValueError):
        return _from_docstring(function.__doc__ or "")


def _from_signature(signature: inspect.Signature) -> list[str]:
    names: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(n.startswith("*") for n in names):
            names.append("*")
        names.append(_STARS.get(parameter.kind, "") + parameter.name)
    return names


def _from_docstring(text: str) -> list[str] | None:
    """Cython puts "name(int a, b=1) -> type" on the first line."""
    match = re.match(r"[\w.]+\((.*)\)(?: -> .*)?$", text.split("\n")[0])
    if match is None:
        return None
    return [_bare_name(part) for part in _SPLIT.split(match[1]) if part]


def _bare_name(part: str) -> str:
    return part.split("=")[0].split(":")[0].split()[-1]


def find(path: str) -> Any:
    """The module or class at a dotted path."""
    try:
        return importlib.import_module(path)
    except ImportError:
        module, name = path.rsplit(".", 1)
        return getattr(find(module), name)


def make() -> dict[str, Any]:
    """All of the list; `cupy.__version__` says what it was taken from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        owners = {path: find(path) for path in OWNERS}  # all of them first: some load others
        names = {path: describe(owner) for path, owner in owners.items()}
    return {"cupy": importlib.import_module("cupy").__version__, "names": names}


def main() -> None:
    lines = [f'{{"cupy": {json.dumps((made := make())["cupy"])}, "names": {{']
    owners = []
    for path, names in made["names"].items():
        rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(names[name])}" for name in names)
        owners.append(f"{json.dumps(path)}: {{\n{rows}}}")
    Path(__file__).with_name("allowlist.json").write_text(
        "\n".join([*lines, ",\n".join(owners), "}}"]) + "\n"
    )


if __name__ == "__main__":
    main()
