"""*Deep Learning from Scratch* by its own names: a few words around gpunet's ops (docs/book.md)."""

from gpunet import lazy

__all__ = ["functions", "gradient", "layers", "multi_layer_net", "multi_layer_net_extend"]
__all__ += ["optimizer", "trainer", "util"]
__getattr__, __dir__ = lazy.attach("gpunet.book", {})
