"""What a training does where nothing is asked for: epochs, paintings a step, learning rate, sides of the crops."""

import dataclasses
from pathlib import Path

import pytest
from helpers import fitted, make_data, tiny_settings

from painters_mtl.training.defaults import (
    default_batch,
    default_epochs,
    peak_rate,
    training_sides,
)


def test_crops_grow_from_half_to_five_sixths_of_what_is_predicted_in_steps_of_eight() -> None:
    assert training_sides(96, 8) == [48, 48, 56, 56, 64, 64, 72, 80]
    assert training_sides(192, 3) == [96, 128, 160] and training_sides(96, 1) == [72]
    for size in range(32, 513, 7):
        sides = training_sides(size, 5)
        assert sides == sorted(sides) and all(side % 8 == 0 and side >= 32 for side in sides)
        assert 0 <= size / 2 - sides[0] < 8 or sides[0] == 32
        assert 0 <= size * 5 / 6 - sides[-1] + 1e-6 < 8 or sides[-1] == 32


@pytest.mark.parametrize(("paintings", "epochs"), [(100, 20), (4000, 20), (10_000, 10), (13_400, 7), (10**6, 5)])
def test_more_paintings_need_fewer_epochs(paintings: int, epochs: int) -> None:
    assert default_epochs(paintings) == epochs


def test_thirty_paintings_are_trained_for_a_hundred_steps_at_least(tmp_path: Path) -> None:
    """Not for 15 epochs of two steps, after which a head still says next to nothing."""
    data = make_data(tmp_path / "data", count=40)
    settings = tiny_settings(data, tmp_path, epochs=0, batch_size=0, fine_tune="heads", tasks=("style",))
    result = fitted(settings)[1]
    assert result.metrics["updates"] >= 27 * result.metrics["epochs"] >= 100
    told = fitted(dataclasses.replace(settings, name="told", epochs=2))[1]
    assert told.metrics["epochs"] == 2 and told.metrics["updates"] <= 4


@pytest.mark.parametrize(("paintings", "size"), [(100, 16), (1599, 16), (1600, 32), (3200, 64), (10**6, 64)])
def test_small_collections_get_small_batches(paintings: int, size: int) -> None:
    assert default_batch(paintings) == size


@pytest.mark.slow
def test_small_batches_learn_at_a_smaller_rate_unless_told(tmp_path: Path) -> None:
    assert [peak_rate(0.0, size) for size in (16, 32, 64, 128)] == [5e-4, 1e-3, 2e-3, 2e-3]
    assert peak_rate(0.01, 16) == 0.01
    paintings, losses = make_data(tmp_path / "data", count=80, seed=1), {}
    for name, rate in (("default", 0.0), ("told", 5e-4), ("other", 2e-3)):
        changes = {"name": name, "learning_rate": rate, "batch_size": 8, "accumulate": 2, "epochs": 1}
        losses[name] = fitted(tiny_settings(paintings, tmp_path, **changes))[1].history["loss"].iloc[0]
    assert losses["default"] == losses["told"] != losses["other"]


def test_the_best_quality_trains_three_times_as_long() -> None:
    assert default_epochs(19_500, quality="best") == 15 and default_epochs(19_500) == 5
    assert default_epochs(100, quality="best") == 40 and default_epochs(100, demo=True, quality="best") == 3


def test_what_teachers_say_is_learned_for_twice_as_long() -> None:
    assert default_epochs(10_000, taught=True) == 20 and default_epochs(100, taught=True) == 40
    assert default_epochs(10_000, quality="best", taught=True) == default_epochs(10_000, quality="best")
    assert default_epochs(100, demo=True, taught=True) == 3
