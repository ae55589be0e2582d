"""What a command was told, as a TOML file beside its results, to be given back with --config."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

import click

from gpunet.files import readable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "config.toml"
APART = ("config", "resume", "help")  # what belongs to one run, not to what is trained


def read(context: click.Context, option: click.Parameter, path: Path | None) -> None:
    """Let the file's values be the defaults of the command. They are read as if they were typed."""
    if path is None:
        return
    known = {str(p.name): p for p in context.command.params if p.name not in APART}
    defaults: dict[str, Any] = {}
    for key, value in _parsed(path).items():
        name = key.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise click.ClickException(f"{readable(path)}: unknown setting {key!r}; {hint}")
        defaults[name] = _typed(value, known[name], f"{readable(path)}: {key}")
    context.default_map = {**(context.default_map or {}), **defaults}


def written(context: click.Context) -> bytes:
    """The content of the file: all that the command line may say, as it holds for this run."""
    lines = [f"# gpunet {context.info_name} --config FILE does this again\n"]
    for p in context.command.params:
        name = str(p.name)
        value = context.params.get(name, context.meta.get(name))
        if name in APART or value is None:
            continue
        text = f"{name} = {_literal(value)}\n".encode("utf-8", "surrogateescape")
        if _is_text(text):
            lines.append(text.decode())
        else:  # TOML is UTF-8, a file's name may be any bytes
            lines.append(f"# {name} is no UTF-8\n")
    return "".join(lines).encode()


def _parsed(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        return found
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{readable(path)}: not a TOML file: {error}") from None
    except OSError as error:
        raise click.ClickException(f"{readable(path)}: {error.strerror or error}") from None


def _typed(value: Any, p: click.Parameter, where: str) -> Any:
    """The value as the command line would have it: text, or of a flag true or false."""
    if isinstance(p, click.Option) and p.is_flag:
        if not isinstance(value, bool):
            raise click.ClickException(f"{where} is true or false, got {value!r}")
        return value
    if isinstance(value, list) and all(isinstance(one, (int, float, str)) for one in value):
        return ",".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise click.ClickException(f"{where} must be a number, a text or a list, got {value!r}")
    return str(value)


def _literal(value: Any) -> str:
    """In TOML, whose texts are JSON's but for one character."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):  # as it is typed: a=2,b=0.5
        value = ",".join(f"{name}={number!r}" for name, number in value.items())
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _is_text(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
