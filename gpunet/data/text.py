"""The text of a file, in whichever way it is encoded."""

from __future__ import annotations

import codecs

from gpunet.data.errors import PathLike, unusable

_HINT = "is it a CSV file? Save it as UTF-8"


def decoded(path: PathLike, content: bytes) -> str:
    """The text of a file's bytes: UTF-8, UTF-16 with the mark that Excel writes before it, or CP949
    (Korean), which other bytes are hardly by chance. DataError where they are none of these.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return _whole(path, content.decode("utf-16"))
        except UnicodeDecodeError as error:
            found = f"damage at offset {error.start} ({error.reason})"
            raise unusable(path, "UTF-16 text, as its first bytes say", found, _HINT) from None
    try:
        text = content.decode("utf-8-sig")  # with or without a byte order mark
    except UnicodeDecodeError as error:
        korean = _korean(content)
        if korean is None:
            found = f"the byte {content[error.start]:#04x} at offset {error.start}"
            raise unusable(path, "UTF-8 text", found, _HINT) from None
        text = korean
    return _whole(path, text)


def _korean(content: bytes) -> str | None:
    """The text in CP949, if most of what is not ASCII is in the older EUC-KR too: that has the
    syllables in use, and is made of pairs of high bytes, which Latin letters with accents are not.
    """
    try:
        text = content.decode("cp949")
        letters = [c for c in text if not c.isascii()]
        known = sum(len(c.encode("euc_kr", "ignore")) == 2 for c in letters)
    except (UnicodeDecodeError, LookupError):  # the latter of a small Python, without this encoding
        return None
    return text if 2 * known > len(letters) else None


def _whole(path: PathLike, text: str) -> str:
    if "\0" in text:
        raise unusable(path, "text", f"a zero byte at character {text.index(chr(0))}", _HINT)
    return text
