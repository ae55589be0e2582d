"""A first network: handwritten digits, 64 pixels to 10 classes, in twenty lines.

What to notice: the loss falls fast and then slowly. The validation loss stops falling while the
training loss still does; early stopping ends the training there and brings the best weights back.
"""

import gpunet as gn
from gpunet.data import load

gn.seed(0)
data = load("digits")
model = gn.Sequential(
    gn.Affine(64, 100),
    gn.BatchNorm(100),
    gn.ReLU(),
    gn.Dropout(0.2),
    gn.Affine(100, 10),
)
optimizer = gn.Adam(model.parameters(), lr=1e-3)
trainer = gn.Trainer(model, gn.SoftmaxWithLoss(), optimizer, [gn.EarlyStopping(patience=8)])
history = trainer.fit(data.train, data.valid, epochs=60, batch_size=32)

best, last = history.rows[history.best_epoch - 1], history.rows[-1]
for row in [*history.rows[:-1:5], last]:
    print(
        f"epoch {row['epoch']:2}: training loss {row['train_loss']:.3f}, "
        f"validation loss {row['valid_loss']:.3f}, accuracy {row['valid_accuracy']:.3f}"
    )
print(f"ended because: {history.stopped}; best epoch {best['epoch']}")
for name in ("train_loss", "valid_loss"):
    print(
        f"from epoch {best['epoch']} to {last['epoch']}: {name} {best[name]:.3f} {last[name]:.3f}"
    )
print(f"test accuracy with the best epoch's weights: {trainer.evaluate(data.test)['accuracy']:.3f}")
