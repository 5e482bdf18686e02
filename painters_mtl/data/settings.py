"""The settings that say which paintings are used, under which labels, and what a network is shown of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from painters_mtl.common.errors import UserError
from painters_mtl.common.settings import ABOVE_0, NOT_NEGATIVE, Rule, StoredSettings
from painters_mtl.data.tasks import TASK_NAMES


@dataclass
class CollectionSettings(StoredSettings):
    """Which paintings, with which classes, and how they are divided into training, validation and test."""

    data: Path | None = None
    """Folder of paintings: the competition's layout, one with labels.csv, or one sub-folder a painter. Without it:
    Kaggle's mount, else data/painter-by-numbers, else the demo, which is drawn into data/demo."""
    task_data: dict[str, Path] = field(default_factory=dict)
    """A folder of its own for a task, painter=DIR: its labels come from there, those of the other tasks from --data."""
    sample: int = 0
    """Use only so many of the paintings, drawn at random, for a first look at a large collection; 0: all."""
    split: Path | None = None
    """A split.csv of an earlier run to use again; without it a new split is made from the seed."""
    painters: tuple[str, ...] = ("8",)
    """How many painters, the most frequent first; or their names."""
    styles: tuple[str, ...] = ("10",)
    """How many styles; or their names."""
    genres: tuple[str, ...] = ("23",)
    """How many genres; or their names."""
    seed: int = 0
    """Fixes the split, the start of the weights, the order of the paintings and their augmentation."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.check_values(
            sample=NOT_NEGATIVE,
            seed=Rule(lambda seed: 0 <= seed < 2**32, f"must be from 0 to {2**32 - 1}"),
        )
        for task in self.task_data:
            if task not in TASK_NAMES:
                raise UserError(f"--task-data {task} is unknown: painter, style, genre")
        for name, classes in self.requested_classes().items():
            if isinstance(classes, int) and classes < 2:
                raise UserError(f"--{name}s {classes} is too few: ask for two or more")

    def requested_classes(self) -> dict[str, int | tuple[str, ...]]:
        """For each task, a number of classes, or their names."""

        def number_or_names(values: tuple[str, ...]) -> int | tuple[str, ...]:
            return int(values[0]) if len(values) == 1 and values[0].isdecimal() else tuple(values)

        lists = {"painter": self.painters, "style": self.styles, "genre": self.genres}
        return {name: number_or_names(values) for name, values in lists.items()}


@dataclass
class InputSettings(StoredSettings):
    """What a network is shown of a painting. The data keep cached images for it, the network has its inputs for it."""

    image_size: int = 96
    """Side of the square the network sees, in pixels. 160 to 224 finds more in large pictures, for more time."""
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
    """Cached images that need less than this are held in memory, more are read from disk as they are needed."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.check_values(
            memory_gb=ABOVE_0,
        )
