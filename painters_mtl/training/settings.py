"""The settings of a run: the command line is made from them, a notebook fills them, the run folder keeps them."""

import dataclasses
import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import write_json
from painters_mtl.data.tasks import TASK_NAMES

Strategy = Literal["joint", "alternate", "uncertainty", "dwa", "gradnorm", "famo", "pcgrad", "cagrad", "upgrad"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
# They say how a command runs, not what it makes: no config.json has them.
OF_THE_COMMAND = ("resume", "checkpoint_minutes", "distribute", "engine", "ray_address", "ray_cpus")


@dataclass
class TrainSettings:
    """What `python -m painters_mtl.train` can be told. Every value has a default that works."""

    given = frozenset[str]()  # no setting: those that the command line named, also where it named the default
    folds, engine = 0, "local"  # a study has them as settings

    # Data
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
    image_size: int = 96
    """Side of the square the network sees, in pixels. 160 to 224 finds more in large pictures, for more time."""
    cache: Path = Path("data/cache")
    """Where the small copies of the paintings are kept between runs."""
    memory_gb: float = 4.0
    """Copies that need less than this are held in memory, more are read from disk as they are needed."""

    # Run
    name: str = ""
    """Name of the run: it becomes the folder models/NAME. Without it: the date and time."""
    models: Path = Path("models")
    """The folder that holds the runs."""
    overwrite: bool = False
    """Replace the run of that name if there is one."""
    resume: bool = False
    """Go on with the run of that name; an error where there is none. What the command line leaves out is as it was in
    that run. The same command as before goes on without --resume too, but starts anew where there is nothing to go on
    with."""
    checkpoint_minutes: float = 5.0
    """Save the state of the training each so many minutes, in the middle of an epoch too; 0: after epochs only."""
    seed: int = 0
    """Fixes the split, the start of the weights, the order of the paintings and their augmentation."""

    baselines: bool = True
    """Also train a network for each task alone, and print what the shared one gains and saves."""
    budget: Literal["early-stop", "equal-updates"] = "early-stop"
    """How long a network for one task trains: by the same rules to its own end, or for as many steps as the shared
    one."""

    # Network
    backbone: str = "efficientnet_lite0"
    """efficientnet_lite0 (its ImageNet weights come with pip), small_convnet, or any network of keras.applications."""
    weights: str = "imagenet"
    """Start of the backbone: imagenet, none (random), or a weights file."""
    fine_tune: Literal["heads", "top", "all"] = "top"
    """What trains: the heads on a frozen backbone, the upper half of the backbone too, or all of it."""
    shared_layers: tuple[int, ...] = ()
    """Widths of hidden layers behind the backbone that all tasks share."""
    task_layers: tuple[int, ...] = ()
    """Widths of hidden layers that each task has for itself."""
    shared_projection: int = 0
    """Width of one hidden layer that every task's branch goes through, with the same weights, before its head; 0:
    none."""
    views: tuple[Literal["whole", "detail"], ...] = ("whole",)
    """What the network looks at: whole, or whole,detail: also the middle of the painting at its own resolution. Both go
    through the same backbone."""
    merge: Literal["concatenate", "none"] = "concatenate"
    """With two views: every head sees both, or each sees one (--view-of) and only the weights are shared."""
    view_of: dict[str, str] = field(default_factory=dict)
    """With --merge none, the view of a task: painter detail; a task that is not named sees the whole."""
    dropout: float = 0.2
    """Dropout before each hidden layer and each head."""

    # Training
    strategy: Strategy = "joint"
    """How the tasks train together: joint (the sum of the losses), alternate (a task a step), a weighting of the losses
    (uncertainty, dwa, gradnorm, famo), or a gradient method (pcgrad, cagrad, upgrad: about twice the time)."""
    task_sampling: Literal["uniform", "proportional", "annealed"] = "annealed"
    """With alternate, how often a task has its turn: all alike, in proportion to its labels, or first this, then
    that."""
    monitor_conflict: bool = False
    """Write the cosines between the tasks' gradients on the shared weights to the history, and a figure."""
    epochs: int = 0
    """Passes over the training paintings, at most. 0: from 5 for many to 20 for few; 15 where only the heads train; 3
    on the demo."""
    batch_size: int = 0
    """Paintings a step. 0: 64, or 32 or 16 where an epoch would else have fewer than 50 steps."""
    accumulate: int = 1
    """Batches a step: their gradients are added up, as if they were one batch that needs no more memory than one of
    them. A task is weighted by its labels in all of them."""
    distribute: Literal["none", "auto", "mirrored", "multiworker"] = "none"
    """Train on several devices, each with a part of every batch: the GPUs of this machine (mirrored), or those of all
    machines that TF_CONFIG names (multiworker; the same command on each); auto: whichever of them there is."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16", "auto"] = "float32"
    """What the training computes in; the weights, and all that is measured and saved, are float32. auto: the fastest
    that the GPU was made for, and float32 on a CPU."""
    learning_rate: float = 0.0
    """Peak of the learning rate: a warm-up leads to it, half a cosine down to zero. 0: 2e-3, and for fewer than 64
    paintings a step in proportion less."""
    backbone_rate: float = 0.5
    """The part of the learning rate at which a pretrained backbone moves."""
    weight_decay: float = 0.02
    """AdamW's; not applied to biases and BatchNormalization."""
    label_smoothing: float = 0.1
    """Share of each label that is spread evenly over the classes of its task."""
    task_weights: dict[str, float] = field(default_factory=dict)
    """Weights of the losses: painter=1 style=0.5; a task that is not named weighs 1. Without any: painter=0.5 genre=2,
    for few painters are soon learned and 23 genres are not."""
    label_share: float = 0.35
    """Works with a scarce label are drawn up to 3 times an epoch, until this share of it has the label; 0: never."""
    other_painters: float = 0.5
    """Weight of a head over all painters of 10 works or more that helps the training and is then taken off; 0: none."""
    painter_known: bool = True
    """At the end, add a head that knows whether a work is by any of the painters, for predict's "unknown"."""
    refit: bool = True
    """At the end, fit each head once more, to whole paintings, and to the finer levels of the backbone unless there are
    hidden layers or two views, as far as that is better in validation. Not where only the heads train."""
    start_from: tuple[Path, ...] = ()
    """Runs of the tasks alone, such as models/NAME/baselines/painter: their heads are taken over, by layer name."""
    start_shared: str = "mean"
    """With --start-from, what the shared part starts as: the mean of theirs, that of one task, or imagenet."""
    freeze: Literal["none", "backbone", "heads"] = "none"
    """What stands still at first: all that the tasks share, or what each has for itself."""
    freeze_epochs: int = 0
    """For how many epochs; 0: to the end."""
    teachers: tuple[Path, ...] = ()
    """Runs whose answers are learned too, also for paintings without a label; one may teach several tasks."""
    teacher_weight: float = 0.5
    """The teachers' share of the loss."""
    temperature: float = 2.0
    """Softens the teachers' answers; 1 takes them as they are."""
    patience: int = 6
    """End when the mean validation accuracy has not risen for so many epochs."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, before anything is read."""
        positive = (
            "image_size",
            "backbone_rate",
            "patience",
            "memory_gb",
            "temperature",
        )
        for name in positive:
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)} must be above 0")
        for name in ("weight_decay", "other_painters", "checkpoint_minutes", "learning_rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)} must not be negative")
        if self.image_size < 32:
            raise UserError(f"--image-size {self.image_size} is too small: a backbone needs at least 32 pixels")
        command_line.check_numbers(
            self, sample=0, epochs=0, batch_size=0, freeze_epochs=0, shared_projection=0, accumulate=1
        )
        if not 0 <= self.teacher_weight <= 1:
            raise UserError(f"--teacher-weight {self.teacher_weight} must be from 0 to 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"--dropout {self.dropout} must be at least 0 and below 1")
        for name in ("label_share", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)} must be at least 0 and below 1")
        if self.views not in (("whole",), ("whole", "detail")):
            raise UserError(f"--views {','.join(self.views)} cannot be: whole, or whole,detail")
        for task, view in self.view_of.items():
            if task not in TASK_NAMES or view not in self.views:
                raise UserError(f"--view-of {task} {view}: a task (painter, style, genre) and one of the --views")
        if self.merge == "none" and len(self.views) == 1:
            raise UserError("--merge none needs two views to keep apart: add --views whole,detail")
        if self.freeze_epochs and self.freeze == "none":
            raise UserError(f"--freeze-epochs {self.freeze_epochs} needs to know what stands still: add --freeze")
        if self.freeze == "heads" and not self.trains_shared_weights():
            raise UserError("--freeze heads leaves nothing to train where the heads alone do: leave it out")
        if self.view_of and self.merge != "none":
            raise UserError("--view-of needs --merge none: with concatenate every head sees both views")
        for task in self.task_data:
            if task not in TASK_NAMES:
                raise UserError(f"--task-data {task} is unknown: painter, style, genre")
        for width in (*self.shared_layers, *self.task_layers):
            if width < 1:
                raise UserError(f"a hidden layer of width {width} cannot be built: widths start at 1")
        for task, weight in self.task_weights.items():
            if task not in TASK_NAMES:
                raise UserError(f"--task-weights {task} is unknown: painter, style, genre")
            if not 0 <= weight < float("inf"):
                raise UserError(f"--task-weights {task} {weight} must not be negative")
        if all(self.loss_weights().get(task, 1.0) == 0 for task in TASK_NAMES):
            raise UserError("--task-weights of 0 for every task leave nothing to learn: give one of them a weight")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"--seed {self.seed} must be from 0 to {2**32 - 1}")
        for name, wish in self.classes_wanted().items():
            if isinstance(wish, int) and wish < 2:
                raise UserError(f"--{name}s {wish} is too few: ask for two or more")
        self.check_sharing([self.strategy])
        if self.resume and self.overwrite:
            raise UserError("--resume goes on with a run and --overwrite replaces it: leave one of them out")
        if self.name in (".", "..") or set("/\\\0") & set(self.name) or self.name.startswith("."):
            raise UserError(f"--name {self.name!r} cannot be the name of a folder: use letters, digits, - and _")

    def loss_weights(self) -> dict[str, float]:
        """The weights that were asked for, or those that docs/experiments.md found for real paintings."""
        return self.task_weights or {"painter": 0.5, "genre": 2.0}

    def trains_shared_weights(self) -> bool:
        """Whether weights that several tasks share train: with a frozen backbone and heads alone, none do."""
        return self.fine_tune != "heads" or bool(self.shared_layers) or self.shared_projection > 0

    def plain_heads(self) -> bool:
        """Whether nothing but dropout is between the backbone's features, of one view, and the heads."""
        return len(self.views) == 1 and not (self.shared_layers or self.task_layers or self.shared_projection)

    def refits_heads(self) -> bool:
        """Whether the heads are fitted once more at the end: not where they alone train."""
        return self.refit and self.fine_tune != "heads"

    def ends_with_levels(self) -> bool:
        """Whether the heads see the finer levels of the backbone at the end: where they are fitted to them."""
        return self.refits_heads() and self.plain_heads()

    def check_sharing(self, strategies: Sequence[str]) -> None:
        """Refuse what looks at shared weights where none train."""
        if self.trains_shared_weights():
            return
        asked = [f"--strategy {name}" for name in strategies if name != "joint"]
        asked += ["--monitor-conflict"] * self.monitor_conflict
        if asked:
            raise UserError(
                f"{asked[0]} has nothing to do where the tasks share no weights that train: add --shared-layers 256, "
                "or --fine-tune top"
            )

    def classes_wanted(self) -> dict[str, int | tuple[str, ...]]:
        """For each task, a number of classes or their names."""

        def wanted(values: tuple[str, ...]) -> int | tuple[str, ...]:
            return int(values[0]) if len(values) == 1 and values[0].isdecimal() else tuple(values)

        return {"painter": wanted(self.painters), "style": wanted(self.styles), "genre": wanted(self.genres)}

    def save(self, file: Path) -> None:
        """Write the settings as JSON."""
        write_json(file, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: plain(v) for k, v in value.items()}
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return str(value) if isinstance(value, Path) else value

        return {k: plain(v) for k, v in dataclasses.asdict(self).items() if k not in OF_THE_COMMAND}

    @classmethod
    def load(cls, file: Path) -> "TrainSettings":
        """Read them back; a key that is not a setting is an error."""
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{file} is damaged ({error}): get a sound copy, or train again") from error
        return cls.from_dict(values, str(file))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "the settings") -> "TrainSettings":
        """From plain JSON values."""
        types_of = {f.name: f.type for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(types_of)):
            raise UserError(f"{where} has a setting that does not exist: {', '.join(unknown)}")

        def convert(kind: Any, value: Any) -> Any:
            if isinstance(value, list):
                return tuple(Path(v) for v in value) if "Path" in str(kind) else tuple(value)
            if isinstance(value, dict):
                return {k: Path(v) for k, v in value.items()} if "Path" in str(kind) else dict(value)
            if kind is Path or (isinstance(kind, types.UnionType) and Path in kind.__args__):
                return None if value is None else Path(value)
            return bool(value) if kind is bool else value  # painter_known was a weight once

        return cls(**{k: convert(types_of[k], v) for k, v in values.items()})
