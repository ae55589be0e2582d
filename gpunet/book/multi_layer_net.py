"""MultiLayerNet: MultiLayerNetExtend without its last three arguments."""

from gpunet.book.multi_layer_net_extend import MultiLayerNetExtend as MultiLayerNet

__all__ = ["MultiLayerNet"]
