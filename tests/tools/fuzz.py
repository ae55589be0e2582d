"""Damaged files of every format that gpunet reads: `python -m tests.tools.fuzz --files 20000`.

Each file is read in a child process that may have 2 GB of address space, has a time limit, and is
looked at for what it took. A file is either read or refused, in one line that names it, by one of
the errors that the documentation names; a sealed file that was changed is refused.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gpunet as gn
from gpunet.containers import describe
from gpunet.data import load, read_idx
from gpunet.packing import pack
from gpunet.sealing import seal, unseal

SPACE, MOST_BYTES, MOST_SECONDS = 2 << 30, 1 << 30, 5.0
BATCH = 250  # files a child


class Format(NamedTuple):
    """whole: contents to damage. read: what is done with a file. sealed: no change may pass.
    put: what is damaged lies within a file; the file around it. names: errors name the file (those
    of `load_state_dict` do not know it).
    """

    name: str
    whole: list[bytes]
    read: Callable[[str], Any]
    sealed: bool = False
    put: Callable[[bytes], bytes] = bytes
    names: bool = True


# Whole files


def model() -> Any:
    gn.seed(3)
    return gn.MLP([4, 6, 5, 3], batch_norm=True, dropout=0.25)


def saved(thing: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "f")
        (gn.save(thing, path) if not isinstance(thing, gn.Trainer) else thing.save(path))
        return Path(path).read_bytes()


def trained(name: str = "adam") -> Any:
    one = model()
    trainer = gn.Trainer(one, gn.SoftmaxWithLoss(), gn.OPTIMIZERS[name](one.parameters()))
    x = np.random.default_rng(0).normal(size=(24, 4)).astype(np.float32)
    trainer.fit((x, np.arange(24) % 3), (x, np.arange(24) % 3), epochs=2, batch_size=8)
    return trainer


def read_checkpoint(path: str) -> None:
    one = model()
    gn.Trainer(one, gn.SoftmaxWithLoss(), gn.Adam(one.parameters())).load(path)


def npz(packed: bool, **arrays: Any) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(out, **arrays)
    return out.getvalue()


def in_npz(array: bytes) -> bytes:
    """A whole archive around x.npy, whatever that is."""
    out = io.BytesIO(npz(False, t=np.arange(30) % 3))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr("x.npy", array)
    return out.getvalue()


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def idx(array: Any) -> bytes:
    code = {"u1": 8, "i4": 12, "f4": 13}[array.dtype.str[1:]]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def described(description: bytes) -> bytes:
    """A file of a model with this description, and a right checksum."""
    text = description.decode("utf-8", "replace")
    return seal(model().state_dict(), {"model": text, "numbers": json.dumps(model().numbers())})


def optimizer(name: str) -> Any:
    """One with state of every kind."""
    one = trained(name).optimizer
    one.update({"w": np.ones(2), 3: np.ones(1)}, {"w": np.ones(2), 3: np.zeros(1)})
    return one


def stated(name: str) -> Callable[[bytes], bytes]:
    """A file of an optimizer's state with this description, and a right checksum."""
    arrays = pack(optimizer(name).state_dict())[1]
    return lambda text: seal(arrays, {"optimizer": text.decode("utf-8", "replace")})


def training() -> Format:
    """A checkpoint with another description, and a right checksum."""
    words, arrays = unseal(saved(trained()))
    text = words["training"].encode()

    def put(text: bytes) -> bytes:
        return seal(arrays, {"training": text.decode("utf-8", "replace")})

    return Format("training", [text], read_checkpoint, put=put, names=False)


def state(name: str) -> Format:
    def read(path: str) -> None:
        gn.OPTIMIZERS[name](model().parameters()).load_state_dict(gn.load_state(path))

    text = json.dumps(pack(optimizer(name).state_dict())[0]).encode()
    return Format(f"state of {name}", [text], read, put=stated(name), names=False)


def formats() -> list[Format]:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(30, 4)), np.arange(30) % 3
    rows = [",".join(f"{v:.4g}" for v in row) for row in x]
    plain = "\n".join(["a,b,c,d,label", *(f"{r},{'xyz'[k]}" for r, k in zip(rows, t, strict=True))])
    german = plain.replace(",", ";").replace(".", ",")
    images = rng.integers(0, 255, (30, 4, 3), dtype=np.uint8)
    return [
        Format("model", [saved(model())], gn.load, sealed=True),
        Format("description", [json.dumps(describe(model())).encode()], gn.load, put=described),
        Format("optimizer", [saved(trained().optimizer)], gn.load_state, sealed=True),
        Format("checkpoint", [saved(trained())], read_checkpoint, sealed=True),
        training(),
        *(state(name) for name in ("adam", "rprop", "cocob")),
        Format("npz", [npz(p, x=x, t=t) for p in (False, True)], load),
        Format("npy", [npy(x), npy(x.astype("i1")), npy(x.T > 0)], load, put=in_npz),
        Format("csv", [plain.encode(), german.encode(), "\ufeffé,label\n1,2\n3,4".encode()], load),
        Format("idx", [idx(images), idx(x.astype("f4")), idx(t.astype("i4"))], read_idx),
        Format("gz", [gzip.compress(idx(images))], read_idx),
        Format("gz of idx", [idx(images)], read_idx, put=gzip.compress),
        Format("gz of csv", [plain.encode()], load, put=gzip.compress),
    ]


ENDINGS = {"npz": "npz", "npy": "npz", "csv": "csv", "gz of csv": "csv"}


# Damage


NUMBERS = [0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]
WORDS = [
    b"nan", b"inf", b"-1", b"1e999", b"9" * 400, b"null", b"[]", b"{}", b'"', b"\0", b"\xff\xfe",
    b"\r\n", b";", b",", b"1_0", "١".encode(), b"(", b"1e9", b"1000000000", b"true", b"\x1f\x8b",
]  # fmt: skip


ODD: list[Any] = [
    None, True, -1, 0, 7, 1.5, -0.0, float("inf"), float("nan"), 2**70, 10**400, "x", "", "inf",
    [], {}, [1], [[]], {"array": "W"}, {"array": 3}, {"tuple": 3}, {"pairs": [1]}, "float32",
    {"kind": "ReLU"},
]  # fmt: skip


def replaced(tree: Any, draw: random.Random) -> Any:
    """A tree of JSON in which a place has another value, or is gone."""
    if not isinstance(tree, (dict, list)) or not tree or draw.random() < 0.1:
        return draw.choice(ODD)
    pairs = list(tree.items() if isinstance(tree, dict) else enumerate(tree))
    place, inside = draw.choice(pairs)
    found = dict(pairs)
    if draw.random() < 0.1:
        del found[place]
    else:
        found[place] = replaced(inside, draw)
    return found if isinstance(tree, dict) else list(found.values())


def damaged(data: bytes, draw: random.Random) -> bytes:
    if data.startswith(b"{") and draw.random() < 0.7:
        return json.dumps(replaced(json.loads(data), draw)).encode()
    found = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        at = draw.randrange(len(found) + 1)
        if draw.random() < 0.5:  # headers are short, and what matters
            at = draw.randrange(min(len(found), 128) + 1)
        kind = draw.randrange(9)
        if kind == 0 and at < len(found):
            found[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            found[at : at + draw.randrange(1, 9)] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 2:
            number = draw.choice(NUMBERS).to_bytes(8, draw.choice(["little", "big"]))
            size = draw.choice([1, 2, 4, 8])
            found[at : at + size] = number[:size] if draw.random() < 0.5 else number[-size:]
        elif kind == 3:
            del found[at:]
        elif kind == 4:
            del found[at : at + draw.randrange(1, 40)]
        elif kind == 5:
            start = draw.randrange(len(found) + 1)
            found[at:at] = found[start : start + draw.randrange(1, 200)]
        elif kind == 6:
            found[at : at + draw.randrange(0, 6)] = draw.choice(WORDS)
        elif kind == 7:
            numbers = list(re.finditer(rb"[0-9.]+", found)) or [re.match(b"", found)]
            start, end = draw.choice(numbers).span()
            found[start:end] = draw.choice([b"0", b"-1", b"1", b"7", b"2e5", b"3000000", *WORDS])
        else:
            found += draw.randbytes(draw.randrange(1, 30))
    return bytes(found)


# Looking at what is made of them


class Outcome(NamedTuple):
    format: str
    number: int
    said: str  # "read", "refused", or what was wrong
    detail: str
    seconds: float
    most: int  # bytes that the process has had by now


def outcome(form: Format, number: int, folder: str, seed: int) -> Outcome:
    draw = random.Random(f"{seed} {form.name} {number}")
    source = draw.choice(form.whole)
    inside = damaged(source, draw)
    content = form.put(inside)
    path = os.path.join(folder, f"damaged.{ENDINGS.get(form.name, 'bin')}")
    Path(path).write_bytes(content)
    started = time.perf_counter()
    said, detail = "read", ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # What is said on purpose: versions and threads differ from those in the file.
            warnings.filterwarnings("ignore", "the training goes on in other surroundings")
            form.read(path)
        if form.sealed and content != source:
            said = "damaged, but read"
    except (ValueError, OSError) as error:
        said, detail = "refused", str(error)
        if path not in detail and form.names:
            said = "the file is not named"
        elif "\n" in detail:
            said = "more than a line"
    except BaseException as error:
        said, detail = f"raw {type(error).__name__}", str(error)
    seconds = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if seconds > MOST_SECONDS:
        said = "too slow"
    elif most > MOST_BYTES:
        said = "too large"
    return Outcome(form.name, number, said, detail[:300], seconds, most)


def _child(name: str, numbers: range, seed: int, pipe: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    [form] = [form for form in formats() if form.name == name]
    with tempfile.TemporaryDirectory() as folder:
        for number in numbers:
            signal.alarm(60)  # which ends a child that hangs
            pipe.send(outcome(form, number, folder, seed))
    pipe.close()


def fuzz(each: int, seed: int = 0, only: list[str] | None = None) -> list[Outcome]:
    """So many damaged files of each format."""
    found: list[Outcome] = []
    context = multiprocessing.get_context("fork")
    for form in formats():
        if only and form.name not in only:
            continue
        at = 0
        while at < each:
            ours, theirs = context.Pipe(duplex=False)
            numbers = range(at, min(at + BATCH, each))
            child = context.Process(target=_child, args=(form.name, numbers, seed, theirs))
            child.start()
            theirs.close()
            try:
                while True:
                    found.append(ours.recv())
                    at = found[-1].number + 1
            except EOFError:
                child.join()
            if child.exitcode:
                found.append(Outcome(form.name, at, f"ended: {child.exitcode}", "", 0.0, 0))
                at += 1
    return found


def bad(found: list[Outcome]) -> list[Outcome]:
    return [one for one in found if one.said not in ("read", "refused")]


def report(found: list[Outcome]) -> str:
    """A table in Markdown."""
    lines = [
        "| format | files | refused | read | anything else | longest | most memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in [*dict.fromkeys(one.format for one in found), ""]:
        own = [one for one in found if name in ("", one.format)]
        said = Counter(one.said for one in own)
        slow, most = max(one.seconds for one in own), max(one.most for one in own)
        lines.append(
            f"| {name or 'all'} | {len(own):,} | {said['refused']:,} | {said['read']:,} | "
            f"{len(bad(own))} | {slow:.2f} s | {most >> 20} MB |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("formats", nargs="*", help="model, csv, ...; all without")
    parser.add_argument("--files", type=int, default=20_000, help="in all")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    count = len(given.formats) or len(formats())
    found = fuzz(-(-given.files // count), given.seed, given.formats)
    print(report(found))
    shown: Counter[tuple[str, str]] = Counter()
    for one in bad(found):
        shown[one.format, one.said] += 1
        if shown[one.format, one.said] <= 3:
            print(one)
    print(*shown.items(), sep="\n")
    sys.exit(bool(shown))


if __name__ == "__main__":
    main()
