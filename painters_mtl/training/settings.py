"""The settings of a training: the command line is made from them, a notebook fills them, the run folder keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from painters_mtl.common.errors import UserError
from painters_mtl.common.settings import ABOVE_0, AT_LEAST_1, BELOW_1, FROM_0_TO_1, NOT_NEGATIVE
from painters_mtl.data.settings import DataSettings
from painters_mtl.network.settings import NetworkSettings

Strategy = Literal["joint", "alternate", "uncertainty", "dwa", "gradnorm", "famo", "pcgrad", "cagrad", "upgrad"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass
class TrainSettings(NetworkSettings, DataSettings):
    """What `python -m painters_mtl.train` can be told: data, network and training. Every default works."""

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

    baselines: bool = True
    """Also train a network for each task alone, and print what the shared one gains and saves."""
    budget: Literal["early-stop", "equal-updates"] = "early-stop"
    """How long a network for one task trains: by the same rules to its own end, or for as many steps as the shared
    one."""

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

    NOT_STORED = frozenset({"resume", "checkpoint_minutes", "distribute"})

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.check_values(
            checkpoint_minutes=NOT_NEGATIVE,
            epochs=NOT_NEGATIVE,
            batch_size=NOT_NEGATIVE,
            accumulate=AT_LEAST_1,
            learning_rate=NOT_NEGATIVE,
            backbone_rate=ABOVE_0,
            weight_decay=NOT_NEGATIVE,
            label_smoothing=BELOW_1,
            label_share=BELOW_1,
            other_painters=NOT_NEGATIVE,
            freeze_epochs=NOT_NEGATIVE,
            teacher_weight=FROM_0_TO_1,
            temperature=ABOVE_0,
            patience=ABOVE_0,
        )
        if self.freeze_epochs and self.freeze == "none":
            raise UserError(f"--freeze-epochs {self.freeze_epochs} needs to know what stands still: add --freeze")
        if self.freeze == "heads" and not self.trains_shared_weights():
            raise UserError("--freeze heads leaves nothing to train where the heads alone do: leave it out")
        self.check_tasks("view-of", self.view_of)
        self.check_tasks("task-weights", self.task_weights)
        for task, weight in self.task_weights.items():
            if not NOT_NEGATIVE.holds(weight):
                raise UserError(f"--task-weights {task} {weight} {NOT_NEGATIVE.text}")
        if all(self.loss_weights().get(task, 1.0) == 0 for task in self.task_names()):
            raise UserError("--task-weights of 0 for every task leave nothing to learn: give one of them a weight")
        self.check_sharing([self.strategy])
        if self.resume and self.overwrite:
            raise UserError("--resume goes on with a run and --overwrite replaces it: leave one of them out")
        if self.name in (".", "..") or set("/\\\0") & set(self.name) or self.name.startswith("."):
            raise UserError(f"--name {self.name!r} cannot be the name of a folder: use letters, digits, - and _")

    def loss_weights(self) -> dict[str, float]:
        """The weights of the losses, {task: weight}: those asked for, else those of docs/experiments.md."""
        return self.task_weights or {"painter": 0.5, "genre": 2.0}

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
