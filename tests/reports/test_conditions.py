"""The conditions of a comparison in sentences, for tasks of any name."""

from pathlib import Path

import pandas as pd
import pytest

from painters_mtl.reports.conditions import conditions, validation_note
from painters_mtl.studies.settings import CompareSettings
from painters_mtl.training.settings import TrainSettings

HISTORY = pd.DataFrame({"loss": [1.0]})


def sentences(**values: object) -> str:
    return " ".join(conditions(TrainSettings(**values), HISTORY, ["painter", "style", "genre"], demo=False))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 7, "patience": 3}, "7 epochs, or until the validation accuracy has not risen for 3 epochs"),
        ({"fine_tune": "heads"}, ": 15 epochs of at least 27 steps, or"),
        ({"budget": "equal-updates"}, "as many steps as the shared one"),
        ({"task_weights": {"style": 2.0}}, "weighted (painter 1, style 2, genre 1), and"),
        ({"strategy": "gradnorm"}, "weighted (painter 0.5, style 1, genre 2), which changes little with gradnorm, and"),
        ({"label_share": 0.2}, "until 20% of what it is shown has that label"),
        ({"label_share": 0.0}, "every work is shown once an epoch"),
        ({"freeze": "backbone", "freeze_epochs": 2, "fine_tune": "all"}, "the backbone is frozen for 2 epochs"),
        ({"freeze": "heads", "fine_tune": "all"}, "the heads are frozen as long as it trains"),
        ({"distill": True}, "costs. It starts from the mean of their weights and trains up to twice as many epochs."),
        ({"distill": True, "start_from": (Path("a"),)}, "costs. It trains up to twice as many epochs."),
        ({"distill": True, "shared_layers": (256,)}, "costs. It trains up to twice as many epochs."),
        ({"distill": True, "weights": "none"}, "costs. It trains up to twice as many epochs."),
        ({"distill": True, "epochs": 7}, "costs. It starts from the mean of their weights."),
        ({"distill": True, "quality": "best"}, "costs. It starts from the mean of their weights."),
        ({}, "fitted anew to the pyramid maps of the backbone, then to all maps with a penalty on its weights, as"),
        ({"quality": "best", "shared_layers": (256,)}, "fitted anew to the finished features, as a linear probe"),
    ],
)
def test_each_condition_is_said(values: dict[str, object], words: str) -> None:
    assert words in sentences(**values)


def test_a_distilled_network_of_heads_alone_starts_and_ends_as_others_do() -> None:
    text = sentences(distill=True, fine_tune="heads")
    assert "learns from soft targets too" in text and "mean of their weights" not in text and "twice" not in text
    study = CompareSettings(strategies=("joint", "distilled"))
    said = " ".join(conditions(study, HISTORY, ["painter", "style", "genre"], demo=False))
    assert "Where it is distilled, it alone learns" in said and "It starts from the mean of their weights" in said


def test_equal_updates_are_those_of_the_first_strategy() -> None:
    study = CompareSettings(strategies=("joint", "gradnorm", "pcgrad"), budget="equal-updates")
    said = " ".join(conditions(study, HISTORY, ["painter", "style"], demo=False))
    assert "as many steps as the shared one of joint" in said and "of gradnorm and pcgrad take as many as their" in said


def test_the_head_over_all_painters_is_said_where_there_was_one() -> None:
    settings, tasks = TrainSettings(), ["painter", "style", "genre"]
    history = pd.DataFrame({"loss": [1.0], "all_painters_loss": [1.0]})
    assert "a head over all painters" in " ".join(conditions(settings, history, tasks, demo=False))
    assert "a head over all painters" not in " ".join(conditions(settings, HISTORY, tasks, demo=False))


def test_tasks_of_the_users_own_are_named() -> None:
    settings = TrainSettings(tasks=("school", "century"), task_weights={"century": 3.0})
    text = " ".join(conditions(settings, HISTORY, ["school", "century"], demo=False))
    assert "weighted (school 1, century 3)" in text
    assert not any(name in text for name in ("painter 1", "style", "genre"))


def test_validation_figures_are_called_what_they_are() -> None:
    note = validation_note(TrainSettings())
    assert "the maps that the known-class heads read" in note
    without = validation_note(TrainSettings(painter_known=False))
    assert "known-class" not in without and 'the thresholds of "unknown"' in without
    assert "flatter the network" in note and "the temperatures" in note and "which heads are fitted anew" in note
    assert "which heads are fitted anew" not in validation_note(TrainSettings(refit=False))
