"""The folder that a training or a study fills: what may be replaced, by whom, and how the old run is kept meanwhile.

Where `models/NAME` is to be made anew, the run that is there first moves to `models/.NAME-replaced`. It goes when the
new run is whole. It comes back where the new training fails, or is killed, before its first checkpoint: a slip of the
pen in a command costs no old run.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import file_lock, read_if_sound, read_json
from painters_mtl.common.messages import say
from painters_mtl.runs.packaged import is_packaged
from painters_mtl.runs.run import BASELINES, COMPARISON, CONFIG, LABELS, METRICS, MODEL
from painters_mtl.training.checkpoint import CHECKPOINT
from painters_mtl.training.settings import TrainSettings


@contextmanager
def run_folder_lock(folder: Path, wait: bool) -> Iterator[None]:
    """Be the one process that writes to a run folder; see `files.file_lock` for `wait`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.with_name(f".{folder.name}.lock"), f"training {folder}", wait):
        yield


def check_replaceable(folder: Path) -> None:
    """Raise `UserError` for what is neither a run (or study) nor an empty folder: it is not ours to replace."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another --name")
    if is_packaged(folder):
        raise UserError(f"{folder} is a packaged model and is not replaced by a training: choose another --name")
    if not _is_empty(folder) and not any((folder / name).exists() for name in (CONFIG, LABELS)):
        raise UserError(f"{folder} is not the folder of a run and is not replaced: choose another --name")


def _is_empty(folder: Path) -> bool:
    """Whether nothing but what a killed write leaves, hidden files, is in the folder."""
    return all(file.name.startswith(".") for file in folder.iterdir())


def is_whole(folder: Path) -> bool:
    """Whether the folder holds a training, with its comparison if it has one, or a study that came to its end."""
    if is_study(folder):
        return read_if_sound(folder / COMPARISON).get("seeds", 0) >= read_if_sound(folder / CONFIG)["seeds"]
    if (folder / COMPARISON).exists():
        return True
    try:
        return not read_json(folder / METRICS)["interrupted"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_study(folder: Path) -> bool:
    """Whether the folder is that of a study, by its config.json."""
    return "seeds" in read_if_sound(folder / CONFIG)


def _is_of_use(folder: Path) -> bool:
    """Whether there is something to go on with, to predict with, or to read."""
    return any(any(folder.rglob(name)) for name in (MODEL, METRICS, CHECKPOINT))


def aside_of(folder: Path) -> Path:
    """Where the old run stands until the new one is whole."""
    return folder.with_name(f".{folder.name}-replaced")


def restore_replaced(folder: Path) -> None:
    """Undo what a kill left: the old run comes back where nothing took its place, and goes where the new one is whole.

    Only for the process that holds the folder's lock.
    """
    aside = aside_of(folder)
    if not aside.exists():
        return
    if is_whole(folder):
        shutil.rmtree(aside, ignore_errors=True)
    elif not _is_of_use(folder):
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)


@contextmanager
def new_run_folder(folder: Path, replace: bool) -> Iterator[None]:
    """Within the block `folder` is filled; what it replaces is kept aside until the new run is whole.

    Only for the process that holds the folder's lock.

    Args:
        replace: begin without what is in the folder; else go on with it.
    """
    restore_replaced(folder)
    check_replaceable(folder)
    aside = aside_of(folder)
    if replace and folder.exists():
        for lock in (folder / BASELINES).glob(".*.lock"):  # another process trains a baseline of this run
            with run_folder_lock(lock.with_name(lock.name[1:].removesuffix(".lock")), wait=False):
                pass
        if aside.exists():  # the run in the folder is an unfinished successor of it
            shutil.rmtree(folder)
        else:
            folder.replace(aside)
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        if new and not _is_of_use(folder):
            shutil.rmtree(folder, ignore_errors=True)
            if aside.exists():
                aside.replace(folder)
        raise
    finally:
        if aside.exists() and (is_whole(folder) or not _is_of_use(aside)):
            shutil.rmtree(aside, ignore_errors=True)
        elif aside.exists():
            say(f"{aside} holds the run that is replaced, until the new one has come to its end")


def prepare_run_folder(settings: TrainSettings) -> Path:
    """The folder that the run goes to; one that is there already must be of the same settings, or to be replaced.

    Nothing is changed yet. Raises `UserError` where the folder is neither.
    """
    folder = settings.models / (settings.name or time.strftime("%Y%m%d-%H%M%S"))
    if aside_of(folder).exists():
        with run_folder_lock(folder, wait=False):
            restore_replaced(folder)
    check_replaceable(folder)
    if not folder.exists() or _is_empty(folder) or settings.overwrite:
        return folder
    if changed := changes(settings, folder / CONFIG):
        raise UserError(
            f"{folder} is there already, with other settings ({', '.join(changed)}): choose another --name, or "
            "--overwrite to replace it"
        )
    return folder


def changes(settings: TrainSettings, file: Path) -> list[str]:
    """The settings that differ from those in a run's config.json, but for those that change no result."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        before = type(settings)().to_dict() | stored  # it may lack a setting that is newer
    except (OSError, ValueError, TypeError):
        return [f"{file.name} is missing or damaged"]
    now = settings.to_dict()
    if ("seeds" in stored) != ("seeds" in now):
        return [f"it was made by painters-mtl {'compare' if 'seeds' in stored else 'train'}"]
    same = {"overwrite", "baselines", "cache", "memory_gb", "name", "models", "seeds", "strategies"}
    if not (file.parent / BASELINES).is_dir() and "seeds" not in now:
        same.add("budget")  # of the baselines, and there are none
    if "seeds" in now and now["budget"] == "equal-updates" and before["strategies"][:1] != now["strategies"][:1]:
        same.discard("strategies")  # the first one's steps are those of the baselines
    if settings.resume:  # paintings may have moved: what they are is looked at when they are read
        same |= {"data", "table", "task_data"}
    # A training goes on with what "auto" stood for where it began.
    same |= {name for name in ("precision", "weights") if now[name] == "auto"}
    for values in (before, now):  # however the place was written
        for key in ("data", "split"):
            values[key] = values.get(key) and str(Path(values[key]).resolve())
    return sorted(k for k in {*before, *now} - same if before.get(k) != now.get(k))
