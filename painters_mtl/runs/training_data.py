"""Where the paintings of a run are: those that it was trained on, with its classes and its split."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from painters_mtl.common.errors import UserError
from painters_mtl.data.locations import DEMO_FOLDER, find_data, resolve_demo
from painters_mtl.data.settings import DataSettings
from painters_mtl.runs.run import CONFIG, LABELS, SPLIT, Run

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile


def run_data_settings(run: Run, place: Path | None, way_out: str) -> DataSettings:
    """The settings with which `dataset.prepare` finds a run's paintings again, with its classes and its split.

    Args:
        place: where the paintings are now, if not where they were in training.
        way_out: what the user can do where they are not to be found; ends the sentence of the `UserError`.
    """
    if run.packaged:
        raise UserError(f"{run.title} does not hold the split of its paintings, as a run folder does: {way_out}")
    for name in (CONFIG, SPLIT):
        if not (run.folder / name).is_file():
            raise UserError(f"{run.folder} lacks {name}, so its own paintings are not known: {way_out}")
    settings = DataSettings.load(run.folder / CONFIG, ignore_others=True)
    place = resolve_demo(place) or settings.data
    if run.demo and (place is None or (place == DEMO_FOLDER and not place.exists())):
        from painters_mtl.data.demo.collection import make_demo

        place = make_demo(DEMO_FOLDER)
    if place is None and set(settings.task_data) != set(settings.task_names()):  # those that train finds by itself
        place = find_data(None)
        if place is None:
            raise UserError(f"the paintings of {run.folder}, which --data did not name, are not found: {way_out}")
    if place is not None and not place.exists():
        raise UserError(f"the paintings of {run.folder} are not in {place}: {way_out}")
    settings = settings.with_classes({name: task.classes for name, task in run.tasks.items()})
    return replace(settings, data=place, split=run.folder / SPLIT)


def training_counts(run: Run) -> dict[str, tuple[int, ...]]:
    """How many training paintings each class had, {task: (classes,)}: from labels.json, or from split.csv.

    Raises `UserError` where neither says it, as in a folder of version 0.4 that was copied without its split.csv.
    """
    if set(run.training_counts) >= set(run.tasks):
        return dict(run.training_counts)
    from painters_mtl.data.csv_table import read_csv

    file = run.folder / SPLIT
    rows = read_csv(file, []) if file.is_file() else None
    if rows is None or not {"split", *run.tasks} <= set(rows):
        raise UserError(
            f"{run.folder} does not say how often each class was in its training: {LABELS} of an earlier version does "
            f"not, and {SPLIT} is missing or lacks a task; leave --balanced out, or train the network again"
        )
    train = rows[rows["split"] == "train"]
    counts = {name: train[name].value_counts() for name in run.tasks}
    return {name: tuple(int(counts[name].get(c, 0)) for c in task.classes) for name, task in run.tasks.items()}


def paintings_of_run(run: Run) -> "list[ImageFile]":
    """The pictures that the run was trained on, if they are still where its config.json says; else none."""
    from painters_mtl.images.files import find_images

    try:
        settings = DataSettings.load(run.folder / CONFIG, ignore_others=True)
    except (OSError, UserError):
        return []
    place = settings.data or (DEMO_FOLDER if run.demo else find_data(None))
    return find_images(place) if place is not None and place.is_dir() else []
