"""From the settings to what a network can be trained on: catalogue, cached images, classes, labels, split."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from painters_mtl.common.errors import UserError, display_path
from painters_mtl.common.files import read_if_sound
from painters_mtl.common.messages import counted, in_singular, say
from painters_mtl.data.catalog import Catalog, read_catalog
from painters_mtl.data.classes import choose_classes, may_be_trained_on
from painters_mtl.data.demo.collection import make_demo
from painters_mtl.data.duplicates import group_near_copies, largest_group
from painters_mtl.data.locations import DEMO_FOLDER, find_data, way_to_images, without_images
from painters_mtl.data.seen_works import MOST_SEEN, seen_among, with_seen_in_train
from painters_mtl.data.settings import NEW_SPLIT, DataSettings
from painters_mtl.data.split import PARTS, given_parts, make_split, notes_about_split
from painters_mtl.data.split_file import check_split_file, load_split, trains_on_set_aside
from painters_mtl.data.tasks import ALL_PAINTERS, NO_LABEL, TASK_NAMES, Task, known_output, plural
from painters_mtl.evaluation.balance import class_counts
from painters_mtl.evaluation.calibration import MIN_LABELLED
from painters_mtl.evaluation.open_set import MIN_FOR_THRESHOLD
from painters_mtl.images.cache import ImageCache, build_image_cache, cache_side

LEAST_LEFT = 0.5  # of the labelled works of a task in test or validation, when seen works leave for train
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
    notes: list[str] = field(default_factory=list)  # what was decided, counted and left out: one sentence each
    demo: bool = False  # the paintings are drawn by code
    folder: Path = Path()  # where they are from; with --task-data, the first of the folders
    groups: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # int64 (n,): near-copies share a number
    seen: np.ndarray | None = None  # bool (n,): trained the bundled model; None: nobody asked

    def rows(self, part: str) -> np.ndarray:
        """Positions of the paintings of a part of the split."""
        return np.flatnonzero(self.split == part)

    def by_trained_painters(self) -> np.ndarray:
        """Which paintings are by a painter who has works in the training part: bool (n,)."""
        painters = self.table["painter"].to_numpy()
        return (painters != "") & np.isin(painters, painters[self.rows("train")])

    def few_seen(self) -> bool:
        """Whether it is known which works are seen, and they are so few that the others are enough to test on."""
        return self.seen is not None and bool(self.seen.mean() <= MOST_SEEN)

    def trainable_tasks(self) -> list[str]:
        """The tasks that a network can learn and be tested on alone: those with labels in both parts."""
        return [
            name
            for name, values in self.labels.items()
            if all((values[self.rows(part)] >= 0).any() for part in ("train", "test"))
        ]

    def known_class_task(self, name: str) -> tuple[Task, np.ndarray]:
        """A task of two classes, "another" and "known": is a work of any of a task's classes? And its labels.

        The labels are int32 (n,): 1 of a class, 0 of something else, such as another painter, -1 where nobody says.
        """
        named = (self.table[name] != "").to_numpy()
        labels = np.where(self.labels[name] >= 0, 1, np.where(named, 0, NO_LABEL))
        return Task(known_output(name), ("another", "known")), labels.astype(np.int32)

    def notes_about_painters(self) -> list[str]:
        """A sentence about the held-out painters of the validation part, if there are any."""
        painters = self.table["painter"][self.rows("validation")]
        held_out = painters[(painters != "") & ~self.by_trained_painters()[self.rows("validation")]]
        if held_out.empty:
            return []
        return [
            f"{len(held_out):,} paintings by {held_out.nunique():,} held-out painters are in validation and none of "
            "theirs in training: they show what the network makes of painters that it has never seen."
        ]

    def notes_about_validation(self) -> list[str]:
        """A sentence where validation holds too few works with a label for what is fitted to them."""
        rows = self.rows("validation")
        counts = {name: int((labels[rows] >= 0).sum()) for name, labels in self.labels.items()}
        few = ", ".join(f"{name} {count}" for name, count in counts.items() if count < MIN_LABELLED)
        if not few:
            return []
        return [
            f"few validation paintings have a label ({few}): confidences are calibrated where {MIN_LABELLED} have one, "
            f"and answers are called unknown or doubtful where {MIN_FOR_THRESHOLD} have one."
        ]

    def all_painters_task(self) -> tuple[Task, np.ndarray]:
        """A task whose classes are all painters with at least 10 training works, and its labels: int32 (n,)."""
        counts = self.table["painter"][self.split == "train"].value_counts()
        names = sorted(str(name) for name, count in counts.items() if name and count >= MIN_WORKS)
        task = Task(ALL_PAINTERS, tuple(names))
        return task, task.encode(self.table["painter"])


def prepare(settings: DataSettings, cross_validated: bool = False, seen_codes: np.ndarray | None = None) -> Dataset:
    """The paintings, classes, labels and split that the settings ask for, with the cached images made.

    The demo is drawn where it is asked for or nothing else is there. Prints a note for all that was left out or
    decided. Raises `UserError` for whatever the user can put right.

    Args:
        cross_validated: folds will divide all of the paintings anew, so notes about this one split are left out.
        seen_codes: uint32, of the works that trained the network which the training may begin with (`seen_works`). A
            split that is made here has such paintings in train alone, unless they are too many.
    """
    folder, table, notes = _paintings(settings)
    table = _with_labels(folder, table, settings, notes)
    # Not only after all images are cached: a class that is not there, or a split.
    _choose_classes(table, settings)
    if settings.split not in (None, NEW_SPLIT):
        check_split_file(settings.split)
    table, images, image_rows = _cached_images(_sample(table, settings, notes), settings, notes)
    tasks, class_notes = _choose_classes(table, settings)
    labels = {name: task.encode(table[name]) for name, task in tasks.items()}
    rows = images.rows >= 0
    groups = group_near_copies(table, images.hashes[rows], images.thumbnails[image_rows], images.contents[rows])
    demo = is_demo(folder)
    seen = None if seen_codes is None or demo else seen_among(images.hashes[rows], seen_codes)
    split, split_notes = _split(table, labels, groups, settings, seen)
    notes += [*class_notes, *_note_about_groups(table, groups)]
    data = Dataset(table, tasks, labels, split, images, image_rows, notes, demo, folder, groups, seen)
    if not cross_validated:
        notes += [*split_notes, *data.notes_about_painters(), *data.notes_about_validation()]
    _check_parts(data)
    notes[:] = map(in_singular, notes)
    for note in notes:
        say(f"note: {note}")
    sizes = ", ".join(f"{len(data.rows(part)):,} {part}" for part in PARTS)
    say(f"{len(table):,} paintings from {folder} ({sizes}); {_describe(tasks)}")
    return data


def _paintings(settings: DataSettings) -> tuple[Path, pd.DataFrame, list[str]]:
    """The catalogue, as in `Catalog`, and where it is from; with `task_data`, several put together.

    A painting of a task's own folder keeps that task's label only, and the others lose theirs: whatever the strategy,
    a task then learns from its own folder.
    """
    of_tasks = {name: _task_catalog(name, place, settings) for name, place in settings.task_data.items()}
    tables, notes, folder = [], [], None
    if set(of_tasks) != set(settings.task_names()):
        folder = find_data(settings.data) or _draw_demo(settings)
        catalog = read_catalog(folder, settings)
        tables.append(_parts_for_all(catalog.table).assign(**dict.fromkeys(of_tasks, "")))
        notes += catalog.notes
    for name, catalog in of_tasks.items():
        others = dict.fromkeys((n for n in (*TASK_NAMES, *settings.task_names()) if n != name), "")
        tables.append(_parts_for_all(catalog.table).assign(id=f"{name}:" + catalog.table["id"], **others))
        notes += [f"{catalog.folder}: {note}" for note in catalog.notes]
        folder = folder or catalog.folder
    assert folder is not None
    return folder, pd.concat(tables, ignore_index=True), notes


def _task_catalog(name: str, place: Path, settings: DataSettings) -> Catalog:
    """The catalogue of the folder that --task-data names for a task. Raises `UserError` where it has no such label."""
    catalog = read_catalog(find_data(place, option=f"--task-data {name}=") or place, settings.for_task(name))
    if not (catalog.table[name] != "").any():
        raise UserError(f"--task-data {name}={place}: no painting there has a {name}")
    return catalog


def _draw_demo(settings: DataSettings) -> Path:
    """The demo's folder, drawn now unless it is there; says why it is the demo."""
    if settings.data is not None:
        say("using the demo, paintings drawn by code")
    elif tables := without_images():
        say(f"note: {tables} has tables but no images: {way_to_images(tables)}")
        say("no images: using the demo, paintings drawn by code")
    else:
        say("no --data and no competition data: using the demo, paintings drawn by code")
    return make_demo(DEMO_FOLDER)


def _parts_for_all(table: pd.DataFrame) -> pd.DataFrame:
    """The table with "train" for paintings in no part, where the others are in the parts of a split that was made."""
    parts = table["part"]
    return table.assign(part=parts.where(parts != "", "train")) if (parts != "").any() else table


def _with_labels(folder: Path, table: pd.DataFrame, settings: DataSettings, notes: list[str]) -> pd.DataFrame:
    """The rows that have a label of any task. Raises `UserError` when there are none."""
    *names, last = settings.task_names()
    labelled = (table[[*names, last]] != "").any(axis=1)
    if not labelled.any():
        any_label = f"{', '.join(names)} or {last}" if names else last
        raise UserError(f"in {folder} no picture has a {any_label}: there is nothing to learn")
    if not labelled.all():
        no_label = f"neither {' nor '.join(names)} nor {last}" if names else f"no {last}"
        notes.append(f"{(~labelled).sum():,} pictures have {no_label} and are not used.")
    return table[labelled].reset_index(drop=True)


def _sample(table: pd.DataFrame, settings: DataSettings, notes: list[str]) -> pd.DataFrame:
    """As many rows as --sample asks for, in the order they were."""
    if not 0 < settings.sample < len(table):
        return table
    notes.append(f"{settings.sample:,} of {len(table):,} paintings, drawn at random, are used (--sample).")
    return table.sample(settings.sample, random_state=settings.seed).sort_index().reset_index(drop=True)


def _cached_images(
    table: pd.DataFrame, settings: DataSettings, notes: list[str]
) -> tuple[pd.DataFrame, ImageCache, np.ndarray]:
    """The rows whose pictures can be read, the cached images of all rows, and which of those are whose."""
    side = cache_side(settings.image_size)
    images = build_image_cache(table, side, settings.cache, settings.memory_gb, inputs=settings.views)
    if len(images.refused):
        reasons = ", ".join(f"{n} {reason}" for reason, n in images.refused["reason"].value_counts().items())
        notes.append(
            f"{len(images.refused):,} pictures cannot be read and are left out ({reasons}), the first of them "
            f"{display_path(images.refused['id'].iloc[0])}; painters-mtl check names all."
        )
    if len(images.repaired):
        notes.append(f"{len(images.repaired):,} damaged pictures are used as far as they can be read.")
    readable = images.rows >= 0
    return table[readable].reset_index(drop=True), images, images.rows[readable]


def _choose_classes(table: pd.DataFrame, settings: DataSettings) -> tuple[dict[str, Task], list[str]]:
    """The tasks, and notes. What the data set aside for validation or test is not counted, unless the split is a new
    one: the file of a split repeats a training, with its classes.
    """
    is_new = settings.split == NEW_SPLIT or (settings.split is not None and trains_on_set_aside(settings.split, table))
    counted = None if is_new else may_be_trained_on(table)
    return choose_classes(table, settings.requested_classes(), counted)


def _split(
    table: pd.DataFrame,
    labels: dict[str, np.ndarray],
    groups: np.ndarray,
    settings: DataSettings,
    seen: np.ndarray | None,
) -> tuple[np.ndarray, list[str]]:
    """The split of a file, that which the data comes with, or a new one; and notes."""
    if settings.split not in (None, NEW_SPLIT):
        return load_split(settings.split, table, groups)
    given = np.full(len(table), "", object) if settings.split == NEW_SPLIT else given_parts(table)
    split = make_split(table, labels, groups, settings.seed, given=given)
    notes = notes_about_split(labels, groups, split, given)
    if seen is None or not 0 < seen.mean() <= MOST_SEEN or np.isin(given, PARTS[1:]).any():
        return split, notes
    moved = with_seen_in_train(split, groups, seen)
    parts = [(values >= 0) & (split == part) for values in labels.values() for part in PARTS[1:]]
    if all((moved[rows] != "train").sum() >= LEAST_LEFT * rows.sum() for rows in parts):
        split = moved
        notes.append(
            f"{counted(int(seen.sum()), 'painting')} trained the bundled model, as far as pictures tell: all "
            "such works and their near-copies are in train, so that no test is too good."
        )
    return split, notes


def is_demo(folder: Path) -> bool:
    """Whether a folder holds paintings that `make_demo` drew."""
    return "version" in read_if_sound(folder / "demo.json")


def _describe(tasks: dict[str, Task]) -> str:
    return ", ".join(f"{len(task.classes)} {plural(name)}" for name, task in tasks.items())


def _check_parts(data: Dataset) -> None:
    """A part without a labelled painting, or a class without one to learn from, cannot be trained on."""
    for part in PARTS:
        rows = data.rows(part)
        if not any((labels[rows] >= 0).any() for labels in data.labels.values()):
            size, name = largest_group(data.table, data.groups)
            copies = f"; near-copies stay together, such as {size} works called {name}" if size > 1 else ""
            raise UserError(f"the {part} part has no labelled painting: add paintings, or change --split{copies}")
    train = data.rows("train")
    for name, task in data.tasks.items():
        labels = data.labels[name][train]
        counts = class_counts(labels, len(task.classes))
        if empty := [c for c, n in zip(task.classes, counts, strict=True) if n == 0]:
            raise UserError(f"no training painting has the {name} {empty[0]!r}: change the classes or the --split")


def _note_about_groups(table: pd.DataFrame, groups: np.ndarray) -> list[str]:
    """A sentence about the copy groups, if any has more than one painting."""
    sizes = np.bincount(groups)
    if not (several := sizes[sizes > 1]).size:
        return []
    size, name = largest_group(table, groups)
    return [
        f"{several.sum():,} paintings are near-copies, or have painter and title in common, and stay together in "
        f"{counted(len(several), 'group')}; the largest: {size} called {name}."
    ]
