"""From the settings to what a network can be trained on: catalogue, small copies, classes, labels, split."""

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import find_data, read_catalog
from painters_mtl.data.classes import choose_classes
from painters_mtl.data.demo.collection import make_demo
from painters_mtl.data.duplicates import group_near_copies, thumbnails
from painters_mtl.data.locations import DEMO_FOLDER
from painters_mtl.data.settings import DataSettings
from painters_mtl.data.split import PARTS, check_split_file, load_split, make_split
from painters_mtl.data.tasks import ALL_PAINTERS, NO_LABEL, TASK_NAMES, Task, known_output
from painters_mtl.images.cache import ImageCache, build_image_cache, cache_side

MIN_WORKS = 10  # of a painter, for a class of its own in the head over all painters


@dataclass(frozen=True)
class Dataset:
    """Paintings that can be read, one a row; every array is in the order of `table`."""

    table: pd.DataFrame  # as in `Catalog`
    tasks: dict[str, Task]
    labels: dict[str, np.ndarray]  # {task: int32 (n,)}, -1: no label
    split: np.ndarray  # "train", "validation", "test" or "" (left out)
    images: ImageCache
    image_rows: np.ndarray  # int64 (n,): the cached image of each painting in `images.pixels`
    notes: list[str] = field(default_factory=list)  # what was found, counted and left out: one sentence each
    demo: bool = False
    folder: Path = Path()
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # (n,): copies share a number

    def rows(self, part: str) -> np.ndarray:
        """Positions of the paintings of a part of the split."""
        return np.flatnonzero(self.split == part)

    def by_trained_painters(self) -> np.ndarray:
        """Which paintings are by somebody whose works are in the training part: bool (n,)."""
        painters = self.table["painter"].to_numpy()
        return (painters != "") & np.isin(painters, painters[self.rows("train")])

    def trainable_tasks(self) -> list[str]:
        """The tasks for which a network alone can be trained and tested: those with labels in both parts."""
        return [
            name
            for name, values in self.labels.items()
            if all((values[self.rows(part)] >= 0).any() for part in ("train", "test"))
        ]

    def known_painter_task(self) -> tuple[Task, np.ndarray]:
        """A task: is a work by any of the painter classes? And its labels: int32 (n,), -1 where no painter is said."""
        named = (self.table["painter"] != "").to_numpy()
        labels = np.where(self.labels["painter"] >= 0, 1, np.where(named, 0, NO_LABEL))
        return Task(known_output("painter"), ("another", "known")), labels.astype(np.int32)

    def all_painters_task(self) -> tuple[Task, np.ndarray]:
        """A task over every painter with at least 10 training works, and its labels: int32 (n,)."""
        counts = self.table["painter"][self.split == "train"].value_counts()
        names = sorted(str(name) for name, count in counts.items() if name and count >= MIN_WORKS)
        task = Task(ALL_PAINTERS, tuple(names))
        return task, task.encode(self.table["painter"])


def prepare(settings: DataSettings, cross_validated: bool = False) -> Dataset:
    """Find the data (or draw the demo), make the small copies, choose the classes and divide the paintings.

    Prints what it finds. Raises `UserError` for whatever the user can put right.

    Args:
        cross_validated: folds will divide all of the paintings anew, so notes about this one split are left out.
    """
    folder, table, notes = _paintings(settings)
    demo = is_demo(folder)
    *names, last = settings.task_names()
    named = (table[[*names, last]] != "").any(axis=1)
    if not named.all():
        no_label = f"neither {' nor '.join(names)} nor {last}" if names else f"no {last}"
        notes.append(f"{(~named).sum():,} pictures have {no_label} and are not used.")
        table = table[named].reset_index(drop=True)
    if table.empty:
        any_label = f"{', '.join(names)} or {last}" if names else last
        raise UserError(f"in {folder} no picture has a {any_label}: there is nothing to learn")
    # Not only after all copies are made: a class that is not there, or a split.
    choose_classes(table, settings.requested_classes())
    if settings.split is not None:
        check_split_file(settings.split)
    if 0 < settings.sample < len(table):
        notes.append(f"{settings.sample:,} of {len(table):,} paintings, drawn at random, are used (--sample).")
        table = table.sample(settings.sample, random_state=settings.seed).sort_index().reset_index(drop=True)
    store = build_image_cache(
        table, cache_side(settings.image_size), settings.cache, settings.memory_gb, views=settings.views
    )
    if len(store.refused):
        reasons = ", ".join(f"{n} {reason}" for reason, n in store.refused["reason"].value_counts().items())
        notes.append(f"{len(store.refused):,} pictures cannot be read and are left out ({reasons}).")
    if len(store.repaired):
        notes.append(f"{len(store.repaired):,} damaged pictures are used as far as they can be read.")
    readable = store.rows >= 0
    table, image_rows = table[readable].reset_index(drop=True), store.rows[readable]

    tasks, class_notes = choose_classes(table, settings.requested_classes())
    labels = {name: task.encode(table[name]) for name, task in tasks.items()}
    small = partial(thumbnails, store.pixels, image_rows)
    groups = group_near_copies(table, store.hashes[readable], small, store.contents[readable])
    if settings.split is None:
        split = make_split(table, labels, groups, settings.seed)
        left = 0 if cross_validated else int((split == "").sum())
        if left:
            class_notes.append(
                f"{left:,} paintings are left out: test works of the competition whose painter and title, or picture, "
                "are in training too, or works without a label of these classes."
            )
    else:
        split, split_notes = load_split(settings.split, table, groups)
        class_notes = [*class_notes, *split_notes]
    data = Dataset(table, tasks, labels, split, store, image_rows, [*notes, *class_notes], demo, folder, groups)
    said = (table["painter"] != "").to_numpy()
    strangers = table["painter"][(split == "validation") & said & ~data.by_trained_painters()]
    if len(strangers) and not cross_validated:
        data.notes.append(
            f"{len(strangers):,} paintings by {strangers.nunique():,} painters are in validation and not in training: "
            "they show what the network makes of strangers."
        )
    _check_parts(data)
    for note in data.notes:
        print(f"note: {note}")
    sizes = ", ".join(f"{len(data.rows(part)):,} {part}" for part in PARTS)
    print(f"{len(table):,} paintings from {folder} ({sizes}); {_describe(tasks)}", flush=True)
    return data


def _paintings(settings: DataSettings) -> tuple[Path, pd.DataFrame, list[str]]:
    """The catalogue, as in `Catalog`, and where it is from; with `task_data`, several put together.

    A painting of a task's own folder keeps that task's label only, and the others lose theirs: whatever the strategy,
    a task then learns from its own folder.
    """
    own = {
        name: (
            folder,
            read_catalog(find_data(folder, option=f"--task-data {name}=") or folder, settings.for_task(name)),
        )
        for name, folder in settings.task_data.items()
    }
    tables, notes, folder = [], [], None
    if set(own) != set(settings.task_names()):
        folder = find_data(settings.data)
        if folder is None:
            print("no --data and no competition data: using the demo, paintings drawn by code", flush=True)
            folder = make_demo(DEMO_FOLDER)
        catalog = read_catalog(folder, settings)
        tables.append(catalog.table.assign(**dict.fromkeys(own, "")))
        notes += catalog.notes
    for name, (place, catalog) in own.items():
        others = dict.fromkeys((n for n in (*TASK_NAMES, *settings.task_names()) if n != name), "")
        tables.append(catalog.table.assign(id=f"{name}:" + catalog.table["id"], **others))
        notes += [f"{place}: {note}" for note in catalog.notes]
        folder = folder or place
        if not (catalog.table[name] != "").any():
            raise UserError(f"--task-data {name}={place}: no painting there has a {name}")
    assert folder is not None
    return folder, pd.concat(tables, ignore_index=True), notes


def is_demo(folder: Path) -> bool:
    """Whether a folder holds paintings that `make_demo` drew."""
    try:
        return "version" in json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def _describe(tasks: dict[str, Task]) -> str:
    plural = {name: f"{name}s" if name in TASK_NAMES else f"classes of {name}" for name in tasks}
    return ", ".join(f"{len(task.classes)} {plural[name]}" for name, task in tasks.items())


def _check_parts(data: Dataset) -> None:
    """A part without a labelled painting, or a class without one to learn from, cannot be trained on."""
    for part in PARTS:
        rows = data.rows(part)
        if not any((labels[rows] >= 0).any() for labels in data.labels.values()):
            raise UserError(f"the {part} part has no labelled painting: add paintings, or change --split")
    train = data.rows("train")
    for name, task in data.tasks.items():
        seen = np.bincount(data.labels[name][train][data.labels[name][train] >= 0], minlength=len(task.classes))
        if empty := [c for c, n in zip(task.classes, seen, strict=True) if n == 0]:
            raise UserError(f"no training painting has the {name} {empty[0]!r}: change the classes or the --split")
