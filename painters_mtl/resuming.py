"""--resume: go on with a run that was ended, by its name."""

import dataclasses
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from painters_mtl.checkpoint import CHECKPOINT
from painters_mtl.errors import UserError
from painters_mtl.runs import CONFIG, METRICS, MODEL
from painters_mtl.settings import OF_THE_COMMAND, TrainSettings

S = TypeVar("S", bound=TrainSettings)


def resumed(settings: S) -> S:
    """With --resume, the settings of the run that is there, and from the command line what it names.

    Settings that no command line made (a notebook's) name what differs from the defaults.
    Raises `UserError` where there is no such run; one with other settings is refused later, as without --resume.
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
    own = {"name", "models", "overwrite", *OF_THE_COMMAND}
    kept = {
        field.name: getattr(before, field.name)
        for field in dataclasses.fields(settings)
        if field.name not in own | settings.given and getattr(settings, field.name) == getattr(default, field.name)
    }
    return dataclasses.replace(settings, **kept)


@contextmanager
def nothing_half_written(folder: Path, replace: bool = False) -> Iterator[None]:
    """Where the block fails, a folder that it made goes again, unless it holds something to go on with or to use.

    Args:
        replace: begin without the folder that is there; it comes back if nothing takes its place.
    """
    aside = folder.with_name(f".{folder.name}-replaced")
    if replace and folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)
    new = not folder.exists()
    try:
        yield
    except BaseException:
        if new and not any(any(folder.rglob(name)) for name in (MODEL, METRICS, CHECKPOINT)):
            shutil.rmtree(folder, ignore_errors=True)
            if replace and aside.exists():
                aside.replace(folder)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _unfinished(models: Path) -> str:
    """The names of runs with a checkpoint in them or in their baselines, to be added to a sentence."""
    found = {file.relative_to(models).parts[0] for file in models.rglob(CHECKPOINT)} if models.is_dir() else set()
    return (
        f" (unfinished in {models}: {', '.join(sorted(found))})" if found else f" (nothing is unfinished in {models})"
    )


def how(verb: str, settings: TrainSettings, folder: Path) -> str:
    """The sentence with the command that goes on."""
    models = [] if settings.models == type(settings)().models else ["--models", str(settings.models)]
    words = ["python", "-m", f"painters_mtl.{verb}", "--resume", "--name", folder.name, *models]
    for name in ("distribute", "engine", "ray_address", "ray_cpus"):  # where it runs is not in config.json
        if (value := getattr(settings, name, None)) != getattr(type(settings)(), name, None):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return f"to go on: {shlex.join(words)}"
