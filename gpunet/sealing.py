"""Arrays, and words about them, as one safetensors file with a checksum over all of it.

The SHA-256 stands first in the header, and is taken with 64 zeros in its place: whatever changes in
the file, header or data, is seen. The same arrays and words give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.backend import Array, to_host

FORMAT = "gpunet 2"  # "gpunet 1" had no checksum
START = b'{"__metadata__":{"sha256":"'
UNSET = b"0" * 64
MOST_HEADER = 1 << 24  # bytes; read as JSON, it takes some twenty times that


def seal(arrays: Mapping[str, Array], words: Mapping[str, str]) -> bytes:
    """The bytes of a file. words: what describes the arrays; "format" and "sha256" are added.

    ValueError where words and names are more than `unseal` reads.
    """
    from safetensors.numpy import save as to_bytes

    # safetensors writes the memory as it lies: an array in another order would come out scrambled.
    # (Not ascontiguousarray, which gives a lone number an axis.)
    plain = to_bytes({name: np.asarray(to_host(a), order="C") for name, a in arrays.items()})
    size = int.from_bytes(plain[:8], "little")
    described = {"sha256": UNSET.decode(), "format": FORMAT, **words}
    header = {"__metadata__": described, **json.loads(plain[8 : 8 + size])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MOST_HEADER:
        raise ValueError(f"names and words take {len(text):,} bytes, at most {MOST_HEADER:,}")
    data = bytearray(len(text).to_bytes(8, "little") + text)
    data += memoryview(plain)[8 + size :]
    _digest_in(data)[:] = hashlib.sha256(data).hexdigest().encode()
    return bytes(data)


def unseal(data: bytes) -> tuple[dict[str, str], dict[str, Array]]:
    """Words and arrays of a safetensors file. One that `seal` did not make has no "sha256".

    ValueError, or whatever safetensors raises, if the file is damaged.
    """
    from safetensors.numpy import load as from_bytes

    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise ValueError("its header is cut off")
    if size > MOST_HEADER:
        raise ValueError(f"its header has {size:,} bytes, at most {MOST_HEADER:,} are read")
    header: Any = json.loads(data[8 : 8 + size])
    words = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if not isinstance(words, dict) or not all(isinstance(word, str) for word in words.values()):
        raise ValueError("its header is damaged: the metadata are no texts")
    if data.startswith(START, 8):
        blank = bytearray(data)
        told = bytes(_digest_in(blank))
        _digest_in(blank)[:] = UNSET
        if told != hashlib.sha256(blank).hexdigest().encode():
            raise ValueError("its checksum is wrong: the file is damaged")
    elif words.get("format") == FORMAT:
        raise ValueError("its checksum is missing: the file is damaged")
    try:
        return words, from_bytes(data)
    except KeyError as error:
        raise ValueError(f"it has a dtype that NumPy lacks: {error}") from None


def _digest_in(data: bytearray) -> memoryview:
    """The place of the checksum."""
    first = 8 + len(START)
    return memoryview(data)[first : first + len(UNSET)]
