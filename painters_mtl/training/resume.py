"""`--resume`: the settings of the run to go on with, and the sentence that says how."""

import dataclasses
import shlex
from pathlib import Path
from typing import TypeVar

from painters_mtl.common.errors import UserError
from painters_mtl.runs.run import CONFIG
from painters_mtl.training.checkpoint import CHECKPOINT
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.tf_config import cluster_asked_for

S = TypeVar("S", bound=TrainSettings)


def settings_to_resume(settings: S, named: frozenset[str] = frozenset()) -> S:
    """The settings; with --resume, those of the run that is there, but for what the command line names.

    Raises `UserError` where there is no such run; one with other settings is refused later, as without --resume.

    Args:
        named: the settings that the command line names, also where it names the default. What differs from the
            defaults counts as named: no command line made the settings of a notebook.
    """
    if not settings.resume:
        return settings
    if not settings.name:
        raise UserError(f"--resume needs the --name of the run to go on with{_unfinished(settings.models)}")
    folder = settings.models / settings.name
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"--resume: {folder} has no run to go on with{_unfinished(settings.models)}; leave --resume out to start it"
        )
    default, before = type(settings)(), type(settings).load(folder / CONFIG)
    own = {"name", "models", "overwrite", *settings.NOT_STORED}
    kept = {
        field.name: getattr(before, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in own | named and getattr(settings, field.name) == getattr(default, field.name)
    }
    return dataclasses.replace(settings, **kept)


def _unfinished(models: Path) -> str:
    """The names of runs with a checkpoint in them or in their baselines, to be added to a sentence."""
    files = models.rglob(CHECKPOINT) if models.is_dir() else ()
    names = {name for file in files if not (name := file.relative_to(models).parts[0]).startswith(".")}
    if not names:
        return f" (nothing is unfinished in {models})"
    return f" (unfinished in {models}: {', '.join(sorted(names))})"


def resume_command(verb: str, settings: TrainSettings, folder: Path) -> str:
    """The sentence with the command that goes on."""
    # Not all workers need see the folder that --resume looks into.
    if cluster_asked_for(settings.distribute) is not None:
        return "to go on: start all workers again with the command of the start"
    models = [] if settings.models == type(settings)().models else ["--models", str(settings.models)]
    words = ["painters-mtl", verb, "--resume", "--name", folder.name, *models]
    for name in ("distribute", "engine", "ray_address", "ray_cpus"):  # where it runs is not in config.json
        if (value := getattr(settings, name, None)) != getattr(type(settings)(), name, None):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return f"to go on: {shlex.join(words)}"
