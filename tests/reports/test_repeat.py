"""The command in a report: typed again, it gives the same settings."""

import shlex
from pathlib import Path

import pytest

from painters_mtl.common.command_line import parse_arguments
from painters_mtl.reports.repeat import repeat_command
from painters_mtl.training.quality import with_quality
from painters_mtl.training.settings import TrainSettings


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": Path("my paintings"), "name": "a", "baselines": False, "epochs": 3, "task_weights": {"style": 2.0}},
        {"painters": ("Claude Monet", "Degas, Edgar"), "shared_layers": (512, 256), "views": ("whole", "detail")},
    ],
)
def test_the_command_stands_for_the_settings(changes: dict[str, object]) -> None:
    settings = TrainSettings(**changes)  # type: ignore[arg-type]
    program, verb, *words = shlex.split(repeat_command("train", settings))
    assert (program, verb) == ("painters-mtl", "train")
    assert parse_arguments(TrainSettings, words, "train")[0] == settings


@pytest.mark.parametrize(
    "words",
    [
        ["--quality", "best"],
        ["--quality", "best", "--mix", "0", "--color", "0", "--image-size", "96", "--fine-tune", "top"],
        ["--quality", "best", "--fine-tune", "heads", "--backbone-rate", "0.5", "--epochs", "3"],
        ["--quality", "best", "--tasks", "school", "century", "--name", "schools"],
    ],
)
def test_the_command_of_the_best_quality_gives_the_same_settings_again(words: list[str]) -> None:
    """What it sets by itself is left out, and what the command line set against it is not."""

    def understood(words: list[str]) -> TrainSettings:
        settings, named = parse_arguments(TrainSettings, words, "train")[:2]
        return with_quality(settings, named)

    settings = understood(words)
    assert understood(shlex.split(repeat_command("train", settings))[2:]) == settings


def test_what_changes_no_network_is_left_out() -> None:
    assert repeat_command("train", TrainSettings(models=Path("elsewhere"), overwrite=True, name="a")) == (
        "painters-mtl train --name a"
    )
