"""Batches in parts: the step of a large batch in the memory of a small one."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from helpers import fitted, make_data, tiny_settings
from steps import OBJECTIVE, SIZE, partly_labelled_batch, quick_network

from painters_mtl.runs import run
from painters_mtl.training.batches import Partners
from painters_mtl.training.crop_teachers import CropTeachers
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings
from painters_mtl.training.step import TrainStep


def after_steps(
    strategy: str, accumulate: int, mix: bool = False, crops: bool = False, **changes: Any
) -> tuple[list[np.ndarray], ...]:
    """Losses of five steps, the weights behind them, and what strategy and optimizers remember."""
    model = quick_network()
    settings = TrainSettings(strategy=strategy, learning_rate=1e-3, accumulate=accumulate, **changes)  # type: ignore[arg-type]
    teacher = np.random.default_rng(1).dirichlet(np.ones(3), SIZE).astype(np.float32)
    objective = dataclasses.replace(OBJECTIVE, soft_targets={"style": teacher} if changes else {})
    if crops:
        objective = dataclasses.replace(
            OBJECTIVE, crop_teachers=CropTeachers.of([quick_network(1)], ["style", "genre"])
        )
    train_step = TrainStep(model, objective, settings, 20)
    step = tf.function(train_step.step)
    batches = [partly_labelled_batch(seed, 8) for seed in range(5)]
    if mix:
        batches = [batch._replace(partners=partners_of(seed)) for seed, batch in enumerate(batches)]
    losses = [step(batch).numpy() for batch in batches]
    memory = [*train_step.strategy.state.values(), *train_step.optimizers.state]
    return losses, [v.numpy() for v in model.trainable_variables], [v.numpy() for v in memory]


def partners_of(seed: int) -> Partners:
    """What is mixed into the crops of a batch: their shares differ from part to part."""
    other = partly_labelled_batch(seed + 50, 8)
    return Partners(other.labels, other.label_weights, other.rows, tf.linspace(0.3, 1.0, SIZE))


QUICK = ("joint", "famo", "pcgrad")
WAYS = [pytest.param(name, {}, marks=[] if name in QUICK else pytest.mark.slow) for name in STRATEGY_NAMES]


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [*WAYS, ("joint", {"teacher_weight": 0.4}), ("joint", {"mix": True}), ("joint", {"crops": True})],
)
def test_parts_make_the_step_of_the_whole_batch(strategy: str, changes: dict[str, Any]) -> None:
    """Labels that miss are weighted over the whole batch: a mean of the parts' means would be another loss."""
    whole, parts = after_steps(strategy, 1, **changes), after_steps(strategy, 3, **changes)
    for of_whole, of_parts in zip(whole, parts, strict=True):
        for a, b in zip(of_whole, of_parts, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
    assert changes or any(np.isnan(losses).any() for losses in whole[0])  # a teacher has an answer for every painting


@pytest.mark.parametrize("strategy", ["joint", pytest.param("pcgrad", marks=pytest.mark.slow)])
def test_conflicts_are_those_of_the_whole_batch(strategy: str) -> None:
    cosines = []
    for accumulate in (1, 4):
        settings = TrainSettings(strategy=strategy, accumulate=accumulate)  # type: ignore[arg-type]
        train_step = TrainStep(quick_network(), OBJECTIVE, settings, 20)
        cosines.append(tf.function(train_step.cosines)(partly_labelled_batch(1, 8)).numpy())
    np.testing.assert_allclose(cosines[1], cosines[0], atol=1e-5)
    np.testing.assert_allclose(np.diag(cosines[0]), 1, atol=1e-5)


def test_two_batches_of_four_train_as_one_of_eight(tmp_path: Path) -> None:
    """A whole training of the heads: the same paintings in the same order."""
    data = make_data(tmp_path / "data", count=80, seed=1)
    common = {"fine_tune": "heads", "shared_layers": (6,), "epochs": 3}
    one = tiny_settings(data, tmp_path, name="one", **common)
    two = dataclasses.replace(one, name="two", batch_size=4, accumulate=2)
    histories, folders = zip(*((o.history, f) for _, o, f in map(fitted, (one, two))), strict=True)
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], atol=1e-5)
    for a, b in zip(*(run.open_run(f).model().get_weights() for f in folders), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-5)
