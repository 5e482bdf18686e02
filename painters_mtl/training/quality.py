"""`--quality`: what it stands for. Without numpy, which `--help` would wait for."""

import dataclasses
from collections.abc import Set
from typing import Any, TypeVar

from painters_mtl.training.settings import TrainSettings

S = TypeVar("S", bound=TrainSettings)

# What --quality best stands for: measured on ten styles, docs/experiments/longer-with-mixed-crops.md.
BEST: dict[str, Any] = {
    "image_size": 128,
    "fine_tune": "all",
    "backbone_rate": 0.4,
    "mix": 0.5,
    "color": 0.2,
    "task_weights": {"painter": 0.5, "style": 1.5, "genre": 2.0},
}


def with_quality(settings: S, named: Set[str] = frozenset()) -> S:
    """The settings; with --quality best, those of `BEST` for all that the command line leaves at its default.

    Args:
        named: the settings that the command line names, also where it names the default.
    """
    if settings.quality == "fast" or settings.resume:
        return settings
    default = type(settings)()
    changes = {
        name: value
        for name, value in BEST.items()
        if name not in named and getattr(settings, name) == getattr(default, name)
    }
    if "task_weights" in changes:  # tasks of a user's own weigh 1
        weights = changes["task_weights"]
        changes["task_weights"] = {task: weights[task] for task in settings.task_names() if task in weights}
    if changes.get("fine_tune", settings.fine_tune) == "heads" or len(settings.views) > 1:
        changes = {name: value for name, value in changes.items() if name not in ("mix", "color")}
    return dataclasses.replace(settings, **changes)
