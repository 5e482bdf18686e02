"""How often each painting is drawn, in which order, and which task has its turn."""

import numpy as np
import pytest

from painters_mtl.training.sampling import (
    MAX_REPEAT,
    AlternatingSampler,
    EpochPlan,
    TaskSchedule,
    epoch_order,
    label_repeats,
)


@pytest.mark.parametrize(("share", "target"), [(0.2, 0.3), (0.25, 0.35), (0.1, 0.15), (0.3, 0.31)])
def test_repeats_reach_the_share(share: float, target: float) -> None:
    labels = np.where(np.arange(1000) < share * 1000, 3, -1)
    factor = label_repeats({"style": labels}, target)
    assert factor[labels >= 0].sum() / factor.sum() == pytest.approx(target, abs=1e-12)
    assert (factor[labels < 0] == 1).all()


def test_repeats_have_a_limit() -> None:
    labels = np.where(np.arange(1000) < 10, 0, -1)
    factor = label_repeats({"style": labels}, 0.5)
    assert (factor == np.where(labels >= 0, MAX_REPEAT, 1)).all()


@pytest.mark.parametrize("share", [0.0, 0.35, 0.8, 1.0])
def test_frequent_labels_are_not_repeated(share: float) -> None:
    labels = np.where(np.arange(100) < share * 100, 0, -1)
    assert (label_repeats({"style": labels}, 0.35) == 1).all()


def test_a_painting_with_two_scarce_labels_has_the_larger_factor() -> None:
    n = np.arange(1000)
    style, genre = np.where(n < 200, 0, -1), np.where(n % 10 == 0, 0, -1)
    alone = [label_repeats({"one": values}, 0.25) for values in (style, genre)]
    assert alone[0].max() < alone[1].max()
    both = label_repeats({"style": style, "genre": genre}, 0.25)
    np.testing.assert_array_equal(both, np.maximum(*alone))


def test_an_epoch_has_every_painting_as_often_as_its_factor_says() -> None:
    factor = np.repeat([1.0, 1.25, 2.7, 3.0], 4000)
    order = epoch_order(factor, seed=3, epoch=0)
    times = np.bincount(order, minlength=len(factor))
    assert (times >= np.floor(factor)).all() and (times <= np.ceil(factor)).all()
    for value in np.unique(factor):
        fraction = value - np.floor(value)
        error = 5 * np.sqrt(fraction * (1 - fraction) / 4000)  # five standard deviations of a mean of 4,000 coin tosses
        assert abs(times[factor == value].mean() - value) <= error


def test_the_order_is_shuffled_by_seed_and_epoch() -> None:
    factor = np.full(500, 1.5)
    same = [epoch_order(factor, 1, 2) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        other = epoch_order(factor, seed, epoch)
        assert len(other) != len(same[0]) or (other != same[0]).any()
    once = epoch_order(np.ones(500), 0, 0)
    assert sorted(once) == list(range(500)) and (once != np.arange(500)).any()


@pytest.mark.parametrize(
    ("sampling", "epoch", "power"),
    [("uniform", 2, 0.0), ("proportional", 2, 1.0), ("annealed", 0, 1.0), ("annealed", 2, 0.5), ("annealed", 4, 0.0)],
)
def test_turns_come_as_often_as_the_sampling_says_and_bring_labelled_paintings(
    sampling: str, epoch: int, power: float
) -> None:
    can_teach = {"a": np.arange(100) < 64, "b": np.arange(100) >= 84, "c": np.zeros(100, bool)}
    schedule = TaskSchedule(can_teach, {"a": 64, "b": 16, "c": 0}, sampling, epochs=5)
    steps = 4000

    def planned(repeats: np.ndarray) -> EpochPlan:
        return AlternatingSampler(repeats, 4, steps, schedule).plan(epoch, seed=5)

    plan = planned(np.ones(100))
    for task, rows in enumerate(can_teach.values()):
        assert rows[plan.rows[plan.task_schedule == task]].all()
    share = 64**power / (64**power + 16**power)
    np.testing.assert_allclose(schedule.shares(epoch), [share, 1 - share, 0])
    shares = np.bincount(plan.task_schedule, minlength=3) / steps
    assert abs(shares[0] - share) <= 5 * np.sqrt(share * (1 - share) / steps) and shares[2] == 0
    drawn = np.bincount(plan.rows[plan.task_schedule == 1].ravel(), minlength=100)[can_teach["b"]]
    assert drawn.max() - drawn.min() <= 1  # round after round, each of its paintings once
    twice = planned(np.where(np.arange(100) < 32, 2.0, 1.0))
    drawn = np.bincount(twice.rows[twice.task_schedule == 0].ravel(), minlength=100)[:64]
    assert drawn[:32].sum() / drawn.sum() == pytest.approx(2 / 3, abs=0.01)
    again = planned(np.ones(100))
    assert np.array_equal(again.rows, plan.rows) and np.array_equal(again.task_schedule, plan.task_schedule)
