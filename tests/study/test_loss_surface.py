"""gpunet.study.loss_surface and trajectory: right losses, right planes, an untouched model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunet as gn
from gpunet.backend import to_host
from gpunet.study.loss_surface import main_directions, random_directions, surface
from gpunet.study.trajectory import Trajectory, flat_parameters

LABELS = np.random.default_rng(1).integers(0, 3, 40)
X = np.random.default_rng(0).normal(size=(40, 5)) + LABELS[:, None]
DATA = (X, LABELS)
LOSS = gn.SoftmaxWithLoss()


def trained(device: str = "cpu", epochs: int = 6) -> tuple[Any, gn.Trainer, Trajectory]:
    gn.seed(3)
    model = gn.MLP([5, 6, 3], batch_norm=True, dropout=0.2, dtype=np.float64).to(device)
    trajectory = Trajectory()
    trainer = gn.Trainer(model, LOSS, gn.Adam(model.parameters(), lr=0.02), [trajectory])
    trainer.fit(DATA, epochs=epochs, batch_size=10)
    return model, trainer, trajectory


def everything(model: Any, trainer: gn.Trainer) -> list[np.ndarray]:
    """Parameters, running statistics, gradients and the optimizer's state."""
    arrays = [*model.state_dict().values(), *trainer.optimizer.buffers()]
    arrays += [p.grad for p in model.parameters()]
    return [np.array(to_host(a)) for a in arrays]


def test_a_trajectory_is_the_start_and_every_epoch() -> None:
    gn.seed(3)
    start = flat_parameters(gn.MLP([5, 6, 3], batch_norm=True, dropout=0.2, dtype=np.float64))
    model, trainer, trajectory = trained(epochs=4)
    assert trajectory.points.shape == (5, start.size)
    assert trajectory.points.dtype == np.float64
    np.testing.assert_array_equal(trajectory.points[0], start)
    np.testing.assert_array_equal(trajectory.points[-1], flat_parameters(model))
    trainer.fit(DATA, epochs=2, batch_size=10)  # continues
    assert len(trajectory) == 7


def test_a_trajectory_by_hand_and_its_mistakes() -> None:
    trajectory = Trajectory()
    with pytest.raises(ValueError, match="the trajectory is empty"):
        _ = trajectory.points
    trajectory.record(gn.Affine(2, 1))
    with pytest.raises(ValueError, match="3 parameters a record, this model has 4"):
        trajectory.record(gn.Affine(3, 1))
    with pytest.raises(ValueError, match="no parameters"):
        trajectory.record(gn.ReLU())


def loss_at(weights: np.ndarray, model: Any) -> float:
    """The loss in evaluation mode with other weights, by a copy of the model."""
    copy = gn.MLP([5, 6, 3], batch_norm=True, dropout=0.2, dtype=np.float64)
    copy.load_state_dict(model.state_dict())
    ends = np.cumsum([p.size for p in copy.parameters()])[:-1]
    for p, part in zip(copy.parameters(), np.split(weights, ends), strict=True):
        p.data = part.reshape(p.shape)
    copy.eval()
    return float(LOSS(copy(X), LABELS).data)


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_losses_are_those_of_the_model_with_the_weights_of_each_place(kind: str) -> None:
    model, trainer, trajectory = trained()
    found = surface(model, LOSS, DATA, trajectory, kind=kind, points=5)
    origin = flat_parameters(model)
    assert found.loss.shape == (5, 5)
    for j, i in [(0, 0), (1, 3), (4, 2)]:
        place = origin + found.x[i] * found.directions[0] + found.y[j] * found.directions[1]
        assert found.loss[j, i] == pytest.approx(loss_at(place, model), rel=1e-12)
    assert found.path is not None
    assert found.path_loss is not None
    for k, point in enumerate(trajectory.points):
        assert found.path_loss[k] == pytest.approx(loss_at(point, model), rel=1e-12)
    assert found.path_loss[-1] == pytest.approx(trainer.evaluate(DATA)["loss"], rel=1e-12)
    np.testing.assert_allclose(found.path[-1], 0, atol=1e-12)


@pytest.mark.parametrize("kind", ["pca", "random"])
def test_the_model_is_unchanged_bit_for_bit(kind: str, device: str) -> None:
    model, trainer, trajectory = trained(device, epochs=2)
    model.train()
    model.layers[0].training = False  # modes of their own come back too
    before, modes = everything(model, trainer), [k.training for _, k in model.named_layers()]
    surface(model, LOSS, DATA, trajectory, kind=kind, points=3)
    after = everything(model, trainer)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))
    assert [k.training for _, k in model.named_layers()] == modes
    trainer.fit(DATA, epochs=1, batch_size=10)  # the optimizer still has its parameters


def test_the_model_comes_back_after_an_error() -> None:
    model, trainer, trajectory = trained(epochs=1)
    before, calls = everything(model, trainer), 0

    def failing(z: Any, t: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise RuntimeError("no more")
        return LOSS(z, t)

    with pytest.raises(RuntimeError, match="no more"):
        surface(model, failing, DATA, trajectory, points=3)
    after = everything(model, trainer)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(before, after, strict=True))
    assert model.training


def test_main_directions_find_the_plane_that_a_path_lies_in() -> None:
    generator = np.random.default_rng(2)
    plane = np.linalg.qr(generator.normal(size=(30, 2)))[0].T
    turn = np.linspace(0, 5, 40)
    offsets = np.column_stack([9 * turn, np.sin(turn)]) @ plane + 1e-3
    directions, shares = main_directions(offsets)
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(plane @ directions.T @ directions, plane, atol=1e-8)
    assert shares[0] > 0.99
    assert sum(shares) == pytest.approx(1)


def test_a_straight_path_gets_a_second_direction_at_a_right_angle() -> None:
    way = np.array([3.0, 0.0, 4.0])
    directions, shares = main_directions(np.outer([0, 1, 2], way))
    np.testing.assert_allclose(np.abs(directions[0]), way / 5, atol=1e-12)
    np.testing.assert_allclose(directions @ directions.T, np.eye(2), atol=1e-12)
    assert shares == pytest.approx((1, 0))


def test_random_directions_are_as_long_as_the_weights_neuron_by_neuron() -> None:
    model = trained(epochs=1)[0]
    first, second = random_directions(model, seed=4)
    assert abs(first @ second) < 0.5 * np.linalg.norm(first) * np.linalg.norm(second)
    for direction in (first, second):
        end = 0
        for name, p in model.named_parameters():
            part = direction[end : end + p.size].reshape(p.shape)
            end += p.size
            if name.endswith("W"):
                own, drawn = (np.linalg.norm(a, axis=0) for a in (p.data, part))
                np.testing.assert_allclose(drawn, own, rtol=1e-12)
                assert not np.allclose(part, p.data)
            else:
                assert (part == 0).all()
    np.testing.assert_array_equal(first, random_directions(model, seed=4)[0])
    assert not np.allclose(first, random_directions(model, seed=5)[0])


def test_the_plane_holds_path_and_model_with_room_around() -> None:
    model, _, trajectory = trained()
    found = surface(model, LOSS, DATA, trajectory, points=2)
    assert found.kind == "pca"
    assert found.explained is not None
    assert 0.5 < sum(found.explained) <= 1
    assert found.path is not None
    for axis, column in ((found.x, 0), (found.y, 1)):
        assert axis[0] < found.path[:, column].min()
        assert axis[-1] > found.path[:, column].max()


def test_without_a_trajectory_it_is_random_directions_as_far_as_asked() -> None:
    found = surface(trained(epochs=1)[0], LOSS, DATA, points=3, reach=0.5)
    assert (found.kind, found.path, found.path_loss, found.explained) == ("random",) + (None,) * 3
    assert found.x.tolist() == found.y.tolist() == [-0.5, 0.0, 0.5]


def test_pictures_with_and_without_a_path(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model, _, trajectory = trained(epochs=2)
    found = surface(model, LOSS, DATA, trajectory, points=4)
    found.save(tmp_path / "pca.png", "digits")
    axes = found.draw().axes[0]
    drawn = [np.column_stack(line.get_data()) for line in axes.get_lines()]
    assert any(k.shape == found.path.shape and np.allclose(k, found.path) for k in drawn)  # type: ignore[union-attr]
    assert "of the path" in axes.get_xlabel()
    surface(model, LOSS, DATA, points=3).save(tmp_path / "random.svg")
    assert (tmp_path / "pca.png").stat().st_size > 10_000
    assert (tmp_path / "random.svg").stat().st_size > 10_000


def test_an_overflowing_corner_is_left_white(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    model = gn.Affine(5, 1)
    found = surface(model, gn.MeanSquaredError(), (X, X[:, :1]), points=5, reach=1e19)
    assert not np.isfinite(found.loss).all()
    assert np.isfinite(found.loss).any()
    found.save(tmp_path / "far.png")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pac"}, 'kind must be "pca" or "random"'),
        ({"kind": "pca"}, "needs a trajectory"),
        ({"points": 1}, "points must be a whole number from 2"),
        ({"reach": 0}, "reach must be a number above 0"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        surface(gn.Affine(5, 3), LOSS, DATA, **options)


def test_trajectories_that_do_not_fit() -> None:
    model, other, still = gn.Affine(5, 3), Trajectory(), Trajectory()
    other.record(gn.Affine(2, 2))
    with pytest.raises(ValueError, match="the trajectory has 6 parameters, the model 18"):
        surface(model, LOSS, DATA, other)
    for _ in range(2):
        still.record(model)
        with pytest.raises(ValueError, match="two different records"):
            surface(model, LOSS, DATA, still)
    with pytest.raises(ValueError, match=r"data: .*label . .*is out of range"):
        surface(model, LOSS, (X, LABELS + 3))
