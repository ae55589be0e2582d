"""`__shared__` declarations, rewritten: a macro cannot see the type that follows it."""

from __future__ import annotations

import re

_STRING = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'"
_SHARED = re.compile(
    rf"(?P<string>{_STRING})"
    r"|(?P<before>(?:\b(?:extern|static|volatile|constexpr)\s+)*)\b__shared__\b(?P<declaration>[^;{}]*);"
)
_ALIGNMENT = re.compile(r"alignas\s*\([^()]*\)|__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
_DECLARATOR = re.compile(r"(?P<type>.*?)(?P<name>[A-Za-z_]\w*)\s*(?P<extents>(?:\[.*\])?)", re.S)


def rewrite_shared(text: str) -> str:
    """Each declaration of shared memory as one of `simgpu::Shared`, on the same line."""
    return _SHARED.sub(_rewrite_declaration, text)


def _rewrite_declaration(match: re.Match[str]) -> str:
    if match["string"] is not None:
        return match[0]
    newlines = "\n" * match[0].count("\n")
    declaration = " ".join(_ALIGNMENT.sub(" ", match["declaration"]).split())
    external = "extern" in match["before"] or declaration.startswith("extern ")
    volatile = "volatile " if "volatile" in match["before"] else ""
    declaration = declaration.removeprefix("extern ")
    declarators = [_DECLARATOR.fullmatch(part) for part in _split(declaration)]
    first = declarators[0]
    if first is None or not first["type"].strip():
        return match[0]
    type_name = volatile + first["type"].strip()
    if external:
        cast = f"reinterpret_cast<{type_name} *&>(simgpu::self.dynamic_shared)"
        return f"{type_name} *&{first['name']} = {cast};{newlines}"
    out = []
    for part in declarators:
        if part is None:
            return match[0]
        own_type = type_name if part is first else type_name.rstrip("* ") + part["type"]
        storage = f"simgpu_shared_{part['name']}"
        out.append(f"static simgpu::Shared<{own_type}{part['extents']}> {storage}; ")
        out.append(f"auto &{part['name']} = {storage}.value(); ")
    return "".join(out) + newlines


def _split(declaration: str) -> list[str]:
    parts, depth, square, start = [], 0, 0, 0
    for i, character in enumerate(declaration):
        square += (character == "[") - (character == "]")
        if square == 0:
            depth += (character in "(<") - (character in ")>")
        if character == "," and depth == 0 and square == 0:
            parts.append(declaration[start:i].strip())
            start = i + 1
    return [*parts, declaration[start:].strip()]
