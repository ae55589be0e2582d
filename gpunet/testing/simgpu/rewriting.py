"""What must be changed in a program's text before g++ takes it: as little as can be."""

from __future__ import annotations

import re

_STRING = r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'"
_SHARED = re.compile(
    rf"(?P<string>{_STRING})"
    r"|(?P<before>(?:\b(?:extern|static|volatile|constexpr)\s+)*)\b__shared__\b(?P<declaration>[^;{}]*);"
)
_ALIGNMENT = re.compile(r"alignas\s*\([^()]*\)|__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)")
_DECLARATOR = re.compile(r"(?P<type>.*?)(?P<name>[A-Za-z_]\w*)\s*(?P<extents>(?:\[.*\])?)", re.S)
# CuPy's kernels of `partition` count on the threads of a warp to go step by step.
_TOGETHER = {
    r"\bvoid bitonic_sort_step\([^)]*\)\s*\{": r"\g<0> __syncwarp();",
    r"\bvoid (bitonic_sort|merge)\([^)]*\)\s*\{": (
        r"\g<0> struct AtEnd { ~AtEnd() { __syncwarp(); } } at_end;"
    ),
}
# The instructions of PTX in what CuPy uses of libcu++, and in its own jit.
_PTX = {
    r'\basm\s*\("prmt\.b32[^"]*"[^;]*;': "__dest = __byte_perm(__a_reg, __b_reg, __c_reg);",
    r'\basm\s*(?:volatile\s*)?\(\s*"mov\.u32 %0, %%laneid;"\s*:\s*"=r"\s*\((\w+)\)\s*\)': (
        r"\1 = simgpu::self.lane"
    ),
}
# How CuPy's kernels read an element; of bools any byte but 0 is true, which g++ does not look at.
_READ = re.compile(r"(\bconst [\w ]+&? ?\w+(?: = |\())(_raw_\w+\[_(?:in_)?ind\.get\(\)\])")
# NVRTC takes `extents<T,>`, which CuPy's tests rely on.
_TRAILING_COMMA = re.compile(rf"{_STRING}|,(?=\s*>)")


def before_macros(text: str) -> str:
    """The program's text for the preprocessor."""
    if "bitonic_sort_step" in text:
        for function, start in _TOGETHER.items():
            text = re.sub(function, start, text)
    return text


def after_macros(text: str) -> str:
    """The preprocessed text for the compiler. Each declaration of shared memory, whose type no
    macro can see, becomes one of `simgpu::Shared`, on the same line.
    """
    for instruction, meaning in _PTX.items():
        text = re.sub(instruction, meaning, text)
    text = _READ.sub(r"\1simgpu::read(\2)", text)
    text = _TRAILING_COMMA.sub(lambda match: match[0].removeprefix(","), text)
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
