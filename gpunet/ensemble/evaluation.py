"""Loss and accuracy of all models of a stack on data that they are not trained on."""

from __future__ import annotations

from gpunet.containers import Sequential
from gpunet.ensemble.stack import Stack
from gpunet.fused import plan
from gpunet.fused.after import Dropouts
from gpunet.fused.forward import Forward
from gpunet.layer import Layer
from gpunet.loss import Loss
from gpunet.train.evaluation import ROWS, Scoring, evaluate
from gpunet.train.feed import Feed

MOST = 2**25  # numbers in the widest layer's outputs, of all models: they are kept


class Scores(Scoring):
    """What a `Scoring` finds of a model, of each in a stack: layers and loss run once for all. Of
    models too large for that, one by one, where nothing is kept.
    """

    def __init__(self, stack: Stack, loss: Loss) -> None:
        layers = Sequential()  # put in afterwards: nothing is drawn anew
        layers.layers = tuple(one for one in stack.layers if not isinstance(one, Dropouts))
        super().__init__(layers, loss, captured=True)
        chain = plan.chain(stack.models[0])
        found = chain if isinstance(chain, str) else stack.plan(chain)
        self.forward = Forward(layers, read=lambda _: found)
        self.models, self._first = (len(stack.models),), stack.models[0]
        self._stack = stack

    def each(self, feed: Feed) -> list[dict[str, float]]:
        """As there; those that have left the stack are of no interest."""
        stack, columns = self._stack, max(p.shape[-1] for p in self._first.parameters())
        if columns * min(len(feed), ROWS) * len(stack.models) <= MOST:
            return super().each(feed)
        here = set(stack.here)
        models = enumerate(stack.models)
        return [evaluate(m, self.loss, feed) if k in here else {} for k, m in models]

    @property
    def single(self) -> Layer:
        return self._first
