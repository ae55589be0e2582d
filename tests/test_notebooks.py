"""The notebooks in examples/: their cells run, and print what is stored in them."""

from __future__ import annotations

import ast
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.ipynb"))


def run(source: str, space: dict[str, Any]) -> tuple[str, Any]:
    """What a cell prints, and its last line's value, as Jupyter shows them."""
    body = ast.parse(source).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), space)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), space) if last else None
    return printed.getvalue(), value


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_cells_run_and_print_what_is_stored(path: Path) -> None:
    space: dict[str, Any] = {}
    if "gpunet[tables]" in path.read_text("utf-8"):
        for package in ("pandas", "sklearn"):
            pytest.importorskip(package, reason="the extra tables is not installed")
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        printed, value = run("".join(cell["source"]), space)
        stored = {output["output_type"]: output for output in cell["outputs"]}
        assert set(stored) <= {"stream", "execute_result"}
        assert printed == "".join(stored.get("stream", {}).get("text", ""))
        shown = set(stored.get("execute_result", {}).get("data", {}))
        kinds = {"text/html": "_repr_html_", "image/svg+xml": "_repr_svg_"}
        assert shown - {"text/plain"} == {k for k, name in kinds.items() if hasattr(value, name)}
        for kind in shown - {"text/plain"}:
            assert getattr(value, kinds[kind])()
