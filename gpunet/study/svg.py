"""The few SVG elements that the hand-drawn pictures are made of. Lengths are in pixels."""

from __future__ import annotations

import os
from collections.abc import Iterable
from html import escape

from gpunet.files import write_atomically
from gpunet.study.styles import variables

HANGUL = "'Apple SD Gothic Neo', 'Malgun Gothic', 'Noto Sans KR', 'Noto Sans CJK KR', NanumGothic"
SANS = f"system-ui, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', {HANGUL}, sans-serif"
MONO = f"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, D2Coding, {HANGUL}, monospace"
ADVANCE = 0.62  # width of a character of a monospace font by its size; the widest of MONO


def element(name: str, *inside: str, **attributes: object) -> str:
    """`<name ...>inside</name>`; class_ is class, font_size font-size; None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{''.join(inside)}</{name}>" if inside else f"<{name}{given}/>"


def text(x: float, y: float, words: str, **attributes: object) -> str:
    """Words with their baseline at y."""
    return element("text", escape(words), x=x, y=y, **attributes)


def short(value: object) -> str:
    """Numbers without needless digits."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def number(value: float, digits: int = 3) -> str:
    """ "−0.0123": with a minus as wide as a plus."""
    return f"{value:.{digits}g}".replace("-", "−")


def save(path: str | os.PathLike[str], document: bytes) -> None:
    """Write it atomically. ValueError for a name that does not end in .svg."""
    if not os.fspath(path).lower().endswith(".svg"):
        raise ValueError(f"{os.fspath(path)}: the name must end in .svg")
    write_atomically(path, document)


def document(width: float, height: float, style: str, inside: Iterable[str]) -> bytes:
    """A whole file, on white, or dark where the reader's system is; no wider than the window."""
    style = f"{variables('svg')}svg {{ max-width: 100%; height: auto }}\n{style}"
    size = f"0 0 {short(float(width))} {short(float(height))}"
    return element(
        "svg",
        element("style", escape(style)),
        element("rect", id="paper", width="100%", height="100%", fill="var(--paper)"),
        *("\n" + part for part in inside),
        "\n",
        xmlns="http://www.w3.org/2000/svg",
        width=float(width),
        height=float(height),
        viewBox=size,
        **{"xml:space": "preserve"},
    ).encode()
