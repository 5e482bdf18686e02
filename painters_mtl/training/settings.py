"""The settings of a training: the command line is made from them, a notebook fills them, the run folder keeps them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args

from painters_mtl.common.errors import UserError
from painters_mtl.common.settings import ABOVE_0, AT_LEAST_1, BELOW_1, FROM_0_TO_1, NOT_NEGATIVE
from painters_mtl.data.settings import DataSettings
from painters_mtl.network.settings import NetworkSettings

DISTILL_ON_ONE_MACHINE = (
    "--distill is for one machine: with several, train the networks for one task each first (any run makes them), then "
    "name them behind --teachers"
)

Strategy = Literal["joint", "alternate", "uncertainty", "dwa", "gradnorm", "famo", "pcgrad", "cagrad", "upgrad"]
STRATEGY_NAMES: tuple[Strategy, ...] = get_args(Strategy)
EVENED_OUT = {  # strategies that undo the weights of the losses, within some hundred steps at most
    "alternate": "takes steps of one size for every task",
    "uncertainty": "learns weights that take them back",
    "gradnorm": "evens out the tasks' gradients",
    "famo": "lets all losses fall at like rates",
}


@dataclass
class TrainSettings(NetworkSettings, DataSettings):
    """What `painters-mtl train` can be told: data, network and training. Every default works."""

    # Run
    name: str = ""
    """Name of the run: it becomes the folder models/NAME. Without it: the date and time."""
    models: Path = Path("models")
    """The folder that holds the runs."""
    overwrite: bool = False
    """Replace the run of that name if there is one. It is kept as models/.NAME-replaced until the new run has come to
    its end."""
    resume: bool = False
    """Go on with the run of that name; an error where there is none. What the command line leaves out is as it was in
    that run. The same command as before goes on without --resume too, but starts anew where there is nothing to go on
    with."""
    checkpoint_minutes: float = 5.0
    """Save the state of the training every so many minutes, also in the middle of an epoch; 0: only after epochs."""

    baselines: bool = True
    """Also train a network for each task alone, and print what the shared network gains and saves."""
    budget: Literal["early-stop", "equal-updates"] = "early-stop"
    """How long a baseline trains: early-stop, by the same rules as the shared network; equal-updates, for as many steps
    as the shared network."""

    # Training
    strategy: Strategy = "joint"
    """How the tasks train together: joint (the sum of the losses), alternate (one task per step), a weighting of the
    losses (uncertainty, dwa, gradnorm, famo), or a gradient method (pcgrad, cagrad, upgrad: about twice the time)."""
    task_sampling: Literal["uniform", "proportional", "annealed"] = "annealed"
    """With --strategy alternate, how often a task has its turn: uniform (all alike), proportional (to its labels), or
    annealed (from proportional to uniform)."""
    monitor_conflict: bool = False
    """Also write the cosines between the tasks' gradients on the shared weights to the history, and draw them."""
    quality: Literal["fast", "best"] = "fast"
    """best: what is not asked for otherwise is set for accuracy, for some five times the time: 128 pixels, the whole
    backbone, three times the training samples, mixed and coloured crops."""
    epochs: int = 0
    """Passes over the training paintings, at most. 0: from 5 for many paintings to 20 for few (40 with --quality best);
    15 where only the heads train, of which each shows few paintings several times, so that there are 400 steps; 3 on
    the demo."""
    batch_size: int = 0
    """Paintings per step. 0: 64, or 32 or 16 where an epoch would otherwise have fewer than 50 steps."""
    accumulate: int = 1
    """Batches per step: their gradients are added up, as if they were one batch that needs no more memory than one of
    them. Each task's loss is the mean over its labels in all of them."""
    distribute: Literal["none", "auto", "mirrored", "multiworker"] = "none"
    """Train on several devices, each with a part of every batch: the GPUs of this machine (mirrored), or those of all
    machines that TF_CONFIG names (multiworker; the same command on each); auto: whichever of them there is."""
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16", "auto"] = "float32"
    """What the training computes in; the weights, and all that is measured and saved, are float32. auto: the fastest
    that the GPU has units for, and float32 on a CPU; a training that is resumed stays in the one it began in."""
    learning_rate: float = 0.0
    """Peak of the learning rate, which rises in a warm-up and then falls to zero by half a cosine. 0: 2e-3 for 64
    paintings per step, and in proportion less for fewer."""
    backbone_rate: float = 0.5
    """Learning rate of a pretrained backbone, as a fraction of --learning-rate."""
    weight_decay: float = 0.02
    """Weight decay of AdamW; not for biases and BatchNormalization."""
    label_smoothing: float = 0.1
    """Share of each label that is spread evenly over the classes of its task."""
    mix: float = 0.0
    """Share of the training crops into which a crop of another painting is mixed, blended (mixup) or pasted in as a
    rectangle (CutMix); both paintings' labels then count. Not in the last fifth of the epochs."""
    color: float = 0.0
    """The most by which brightness, contrast and saturation of the training crops vary: 0.2 is from 80 to 120 %."""
    task_weights: dict[str, float] = field(default_factory=dict)
    """Weights of the losses: painter=1 style=0.5; a task that is not named weighs 1. Without this option: painter=0.5
    genre=2, for few painters are soon learned and 23 genres are not."""
    label_share: float = 0.35
    """Paintings with a scarce label are drawn up to 3 times an epoch, until this share of the samples has a label of
    its task; 0: never."""
    other_painters: float = 0.5
    """Weight of an extra head over all painters with 10 works or more, which helps the training and is removed at its
    end; 0: no such head."""
    painter_known: bool = True
    """At the end, add a known-class head for each task that has works outside its classes, such as those by other
    painters: it tells these from works of the classes, for the label "unknown" of predict."""
    start_from: tuple[Path, ...] = ()
    """Start from the networks of these runs, at least one for each task, such as models/NAME/baselines/painter: their
    weights are copied by layer name; of several networks for a task, the mean."""
    start_shared: str = "mean"
    """With --start-from, what the shared layers start from: mean (of those networks), the network of one task (of
    several, their mean), or imagenet."""
    freeze: Literal["none", "backbone", "heads"] = "none"
    """What is frozen at first: none, the weights that all tasks share (backbone), or those that each task has for
    itself (heads)."""
    freeze_epochs: int = 0
    """For how many epochs --freeze holds; 0: to the end."""
    teachers: tuple[Path, ...] = ()
    """Runs whose predictions are learned too (distillation), also for paintings without a label; one run may teach
    several tasks, and of several for one task the mean counts."""
    distill: bool = False
    """First train the networks for one task each, then the shared network from their predictions too, also for
    paintings without a label (Clark et al. 2019, born-again multi-task networks). By default it starts from the mean of
    their weights (not with hidden layers, two views, --fine-tune heads, --weights none or --start-from), and trains for
    up to twice as many epochs (not with --quality best, --fine-tune heads, --epochs or on the demo). They are the
    baselines: none is trained twice."""
    teacher_weight: float = 0.5
    """Share of the loss that is taken from the teachers' predictions."""
    teacher_schedule: Literal["constant", "annealed"] = "constant"
    """constant: --teacher-weight throughout; annealed: from twice that (at most 1) at the first step, in a straight
    line to 0 at the last, so that the labels alone have the last word."""
    teacher_view: Literal["whole", "crop"] = "whole"
    """What a teacher answers for. whole: each painting as it is, once, before the training; crop: the very crop that
    the network is shown, with what is mixed into it, at each step, for a third of a step's time and each teacher."""
    temperature: float = 2.0
    """Temperature of the distillation: above 1 it makes the teachers' predictions softer."""
    patience: int = 6
    """Stop when the mean validation accuracy has not improved for so many epochs."""

    dry_run: bool = False
    """Say what was understood of the data and how it is divided, and end before anything is trained or written to
    models. The cached images that this needs are kept, and used by the training."""

    NOT_STORED = frozenset({"resume", "dry_run", "checkpoint_minutes", "distribute"})

    def of_one_training(self) -> "TrainSettings":
        """The settings of a training alone, where these are those of a study."""
        return TrainSettings(**{field.name: getattr(self, field.name) for field in fields(TrainSettings)})

    def check_freeze_ends(self, epochs: int) -> None:
        """Raise `UserError` where --freeze-epochs are all epochs of the training."""
        if self.freeze_epochs >= epochs:
            raise UserError(
                f"--freeze-epochs {self.freeze_epochs} is the whole training of {epochs} epochs: leave --freeze-epochs "
                "out to freeze to the end, or name fewer"
            )

    def starts_from_teachers(self) -> bool:
        """Whether --distill begins with the mean of the teachers' weights: where all of them began with the same ones,
        and --start-from names no other start.

        The mean of layers that began with random weights knows nothing (docs/experiments/start-from-and-teachers.md).
        """
        if not self.distill or self.start_from:
            return False
        return self.starts_pretrained() and self.plain_heads() and self.fine_tune != "heads"

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
            mix=FROM_0_TO_1,
            color=BELOW_1,
            label_share=BELOW_1,
            other_painters=NOT_NEGATIVE,
            freeze_epochs=NOT_NEGATIVE,
            teacher_weight=FROM_0_TO_1,
            temperature=ABOVE_0,
            patience=ABOVE_0,
        )
        if self.freeze_epochs and self.freeze == "none":
            raise UserError(f"--freeze-epochs {self.freeze_epochs} needs --freeze, which says what is frozen")
        if self.epochs:
            self.check_freeze_ends(self.epochs)
        if self.freeze == "heads" and not self.trains_shared_weights():
            raise UserError(
                "--freeze heads leaves nothing to train, since only the heads would train: leave --freeze out"
            )
        self.check_tasks("view-of", self.view_of)
        self.check_tasks("task-weights", self.task_weights)
        for task, weight in self.task_weights.items():
            if not NOT_NEGATIVE.holds(weight):
                raise UserError(f"--task-weights {task} {weight} {NOT_NEGATIVE.text}")
        if all(self.loss_weights().get(task, 1.0) == 0 for task in self.task_names()):
            raise UserError("--task-weights of 0 for every task leave nothing to learn: give one of them a weight")
        self.check_sharing([self.strategy])
        self._check_distillation()
        if (self.mix or self.color) and (self.fine_tune == "heads" or len(self.views) > 1):
            option = "mix" if self.mix else "color"
            raise UserError(
                f"--{option} changes the crops that a backbone with one view trains on: leave it out where the heads "
                "alone train, or with two --views"
            )
        if self.teacher_view == "crop" and self.fine_tune == "heads":
            raise UserError(
                "--teacher-view crop is about the crops that a backbone trains on, and only the heads would train: "
                "leave it out"
            )
        if self.resume and self.overwrite:
            raise UserError("--resume goes on with a run and --overwrite replaces it: leave one of them out")
        if self.name in (".", "..") or set("/\\\0") & set(self.name) or self.name.startswith("."):
            raise UserError(f"--name {self.name!r} cannot be the name of a folder: use letters, digits, - and _")

    def _check_distillation(self) -> None:
        """Raise `UserError` where --distill asks for what the settings leave out."""
        if not self.distill:
            return
        if self.teachers:
            raise UserError("--distill trains the teachers itself: leave --teachers out")
        if self.budget == "equal-updates":
            raise UserError(
                "--distill trains the networks for one task each first: they cannot have as many steps as the shared "
                "one, leave --budget out"
            )
        if self.distribute == "multiworker":
            raise UserError(DISTILL_ON_ONE_MACHINE)

    def loss_weights(self) -> dict[str, float]:
        """The weights of the losses, {task: weight}: those asked for, else those of docs/experiments.md."""
        return self.task_weights or {"painter": 0.5, "genre": 2.0}

    def check_sharing(self, strategies: Sequence[str]) -> None:
        """Raise `UserError` for options that are about shared weights where none of them train."""
        named = [f"--strategy {name}" for name in strategies if name != "joint"]
        if self.freeze == "backbone" and not self.freeze_epochs and self.trains_shared_weights() and named:
            raise UserError(
                f"{named[0]} has nothing to do with a backbone that is frozen to the end: add --freeze-epochs 2, or "
                "leave --freeze out"
            )
        if self.trains_shared_weights():
            return
        options = [*named, "--monitor-conflict"] if self.monitor_conflict else named
        if options:
            raise UserError(
                f"{options[0]} has nothing to do where the tasks share no weights that train: add --shared-layers 256, "
                "or --fine-tune top"
            )
