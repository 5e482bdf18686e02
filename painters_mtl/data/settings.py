"""The settings that say which paintings are used, under which labels, and what a network is shown of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

from painters_mtl.common.errors import UserError
from painters_mtl.common.settings import ABOVE_0, NOT_NEGATIVE, Rule, StoredSettings
from painters_mtl.data.locations import resolve_demo
from painters_mtl.data.tasks import TASK_NAMES, check_task_name

LAST_SEED = 2**32 - 1  # of numpy and TensorFlow
NEW_SPLIT = Path("new")  # the word behind --split that asks for one where the data comes with its own
FILE_COLUMN = {"file": "filename", "file_name": "filename", "image": "filename", "path": "filename", "split": "part"}


@dataclass
class LabelSettings(StoredSettings):
    """Which paintings, what their folder holds, and with which classes."""

    data: Path | None = None
    """Folder of paintings, in any of the usual layouts (check --data FOLDER says which it recognises).
    Without it: Kaggle's mount, else data/painter-by-numbers, else the demo. demo: paintings drawn by code, into
    data/demo."""
    table: Path | None = None
    """The table with the labels, where it is not found by itself or lies elsewhere: .csv, .tsv, .jsonl or .parquet."""
    columns: dict[str, str] = field(default_factory=dict)
    """What columns of the table are, where their names do not say it: painter=maker genre=subject filename=photo."""
    folders: str = ""
    """What the sub-folders are, where it is not seen by itself: painter, style or genre; two levels as style/painter,
    and */painter for the lower one alone."""
    tasks: tuple[str, ...] = ()
    """What is learned: any of painter, style, genre, and columns of the table, such as school century. Without it:
    painter, style and genre, as far as they are there."""
    painters: tuple[str, ...] = ("8",)
    """How many painters, the most frequent first; or their names."""
    styles: tuple[str, ...] = ("10",)
    """How many styles; or their names."""
    genres: tuple[str, ...] = ("23",)
    """How many genres; or their names."""
    classes: dict[str, str] = field(default_factory=dict)
    """How many classes of a task of your own, school=12, or their names, "school=Dutch;Flemish". Without it: all with
    three works or more."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.data = resolve_demo(self.data)
        self.tasks = tuple(dict.fromkeys(name for names in self.tasks for name in names.lower().split(",") if name))
        for task in self.tasks:
            check_task_name(task)
        tasks = self.task_names()
        self.check_tasks("classes", self.classes)
        allowed = ("filename", *dict.fromkeys((*TASK_NAMES, *tasks)), "title", "date", "split")
        for ours, theirs in self.columns.items():
            if FILE_COLUMN.get(ours, ours) not in {FILE_COLUMN.get(name, name) for name in allowed}:
                raise UserError(
                    f"--columns {ours}={theirs}: {ours} is unknown; it can be {', '.join(allowed)} (a task of your own "
                    "is named by --tasks)"
                )
        self.columns = {FILE_COLUMN.get(ours, ours): theirs for ours, theirs in self.columns.items()}
        if self.folders and (self.table or self.columns):
            raise UserError(
                "--folders takes the labels from folders, --table and --columns from a table: leave one out"
            )
        for level in self.folders.split("/") if self.folders else ():
            if level not in (*TASK_NAMES, *tasks, "*"):
                raise UserError(
                    f"--folders {self.folders}: {level or 'an empty level'} is none of painter, style, genre"
                )
        if self.folders and not self.folders.strip("*/"):
            raise UserError(f"--folders {self.folders} names no task: say which level is the painter, style or genre")
        for name, classes in self.requested_classes().items():
            if isinstance(classes, int) and classes < 2:
                option = f"--{name}s" if name in TASK_NAMES else f"--classes {name}="
                raise UserError(f"{option} {classes} is too few: ask for two or more")

    def check_tasks(self, option: str, names: Iterable[str]) -> None:
        """Raise `UserError` for the first name behind an option that is no task."""
        for task in names:
            if task not in self.task_names():
                raise UserError(f"--{option} {task} is unknown: {', '.join(self.task_names())}")

    def task_names(self) -> tuple[str, ...]:
        """The tasks that may be learned, as far as the paintings have labels for them."""
        return self.tasks or TASK_NAMES

    def with_classes(self, classes: Mapping[str, Sequence[str]]) -> Self:
        """The same settings with these classes for each task, {task: names}."""
        own = {task: ";".join(name.replace(";", "\\;") for name in names) for task, names in classes.items()}
        usual = {f"{task}s": tuple(classes[task]) for task in TASK_NAMES if task in classes}
        return replace(self, classes={t: text for t, text in own.items() if t not in TASK_NAMES}, **usual)  # type: ignore[arg-type]

    def requested_classes(self) -> dict[str, int | tuple[str, ...] | None]:
        """For each task, a number of classes, their names, or None for all that have enough works."""
        lists = {"painter": self.painters, "style": self.styles, "genre": self.genres}
        lists |= {name: _names_between_semicolons(text) for name, text in self.classes.items()}

        def number_or_names(values: tuple[str, ...]) -> int | tuple[str, ...]:
            return int(values[0]) if len(values) == 1 and values[0].isdecimal() else tuple(values)

        return {task: number_or_names(lists[task]) if task in lists else None for task in self.task_names()}


def _names_between_semicolons(text: str) -> tuple[str, ...]:
    """The names of "Dutch;Flemish"; a semicolon within a name has a backslash before it."""
    return tuple(name.replace("\\;", ";").strip() for name in re.split(r"(?<!\\);", text))


@dataclass
class CollectionSettings(LabelSettings):
    """Which paintings, with which classes, and how they are divided into training, validation and test."""

    task_data: dict[str, Path] = field(default_factory=dict)
    """A folder of its own for a task, painter=DIR: its labels come from there, those of the other tasks from --data."""
    sample: int = 0
    """Use only so many of the paintings, drawn at random, for a first look at a large collection; 0: all."""
    split: Path | None = None
    """A split.csv of an earlier run to use again. Without it: the split that the data comes with, else one that is made
    from the seed. new: one from the seed in any case."""
    seed: int = 0
    """Fixes the split, the initial weights, the order of the paintings and their augmentation."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.check_values(
            sample=NOT_NEGATIVE,
            seed=Rule(lambda seed: 0 <= seed <= LAST_SEED, f"must be from 0 to {LAST_SEED}"),
        )
        self.check_tasks("task-data", self.task_data)
        if self.task_data and set(self.task_names()) <= set(self.task_data):
            for option in ("table", "folders"):
                if value := getattr(self, option):
                    raise UserError(f"--{option} {value} is of no use: --task-data names a folder for every task")

    def for_task(self, task: str) -> LabelSettings:
        """How the folder that --task-data names for a task is read: for that task alone, with its column's name.

        Where --columns names that column, its names of other columns hold there too.
        """
        others = ("filename", "title", "date", "part")
        columns = {ours: theirs for ours, theirs in self.columns.items() if ours in (task, *others)}
        return LabelSettings(tasks=(task,), columns=columns if task in columns else {})


@dataclass
class InputSettings(StoredSettings):
    """What a network is shown of a painting. The data keep cached images for it, the network has its inputs for it."""

    image_size: int = 96
    """Side of the square that the network sees, in pixels. With 160 to 224 it sees more of large pictures, and is
    slower."""
    views: tuple[Literal["whole", "detail"], ...] = ("whole",)
    """What the network looks at: whole, or whole,detail: also the middle of the painting at its own resolution. Both go
    through the same backbone."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.check_values(
            image_size=Rule(lambda side: side >= 32, "is too small: a backbone needs at least 32 pixels"),
        )
        if self.views not in (("whole",), ("whole", "detail")):
            raise UserError(f"--views {','.join(self.views)} cannot be: whole, or whole,detail")


@dataclass
class DataSettings(InputSettings, CollectionSettings):
    """All that `dataset.prepare` needs to know: which paintings, what is shown of them, and where images are cached."""

    cache: Path = Path("data/cache")
    """Where the cached images, small copies of the paintings, are kept between runs."""
    memory_gb: float = 4.0
    """Cached images that need less than this are held in memory; more are read from disk as they are needed."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.check_values(
            memory_gb=ABOVE_0,
        )
