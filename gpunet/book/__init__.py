"""*Deep Learning from Scratch* by its own names: a few words around gpunet's ops (docs/book.md)."""

from gpunet import lazy

__getattr__, __dir__ = lazy.attach("gpunet.book", {})
