"""The command line that stands for settings."""

import dataclasses
import shlex
from typing import Any

from painters_mtl.training.quality import BEST, with_quality
from painters_mtl.training.settings import TrainSettings


def repeat_command(verb: str, settings: TrainSettings) -> str:
    """The command that has these settings: the options that are not as they would be without it, as a shell reads them.

    Left out is what changes no network: where the run is kept, and how it was resumed or replaced.
    """
    default, words = type(settings)(), ["painters-mtl", verb]
    # --quality best sets what the command line leaves at its default.
    defaults_of_best = {name: getattr(default, name) for name in BEST}
    by_quality = with_quality(dataclasses.replace(settings, resume=False, **defaults_of_best))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in settings.NOT_STORED | {"overwrite", "models", "cache", "memory_gb"}:
            continue
        if value != getattr(by_quality if field.name in BEST else default, field.name):
            option = ("--no-" if value is False else "--") + field.name.replace("_", "-")
            words += [option, *_words(value)]
    return shlex.join(words)


def _words(value: Any) -> list[str]:
    """What stands behind an option."""
    if isinstance(value, bool):
        return []
    if isinstance(value, dict):
        return [f"{name}={item}" for name, item in value.items()]
    return [str(item) for item in value] if isinstance(value, tuple) else [str(value)]
