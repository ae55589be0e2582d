"""The progress bar: a widget in a notebook, a line in a terminal, nothing where nobody looks."""

from __future__ import annotations

import warnings
from typing import Any


def bar(total: int, shown: bool | None = None, **options: Any) -> Any:
    """A bar of tqdm's, which loads when the first one is made.

    shown: None shows it in a notebook and in a terminal. options: as tqdm takes them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notebook without ipywidgets has no bar, and is fine
        from tqdm.auto import tqdm

    notebook = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    hidden = (None if not notebook else False) if shown is None else not shown
    return tqdm(total=total, disable=hidden, leave=False, **options)
