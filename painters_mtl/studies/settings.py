"""The settings of a study: all that a training can be told, and how often and where to train."""

from dataclasses import dataclass
from itertools import chain
from typing import Literal

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.data.settings import LAST_SEED
from painters_mtl.training.settings import STRATEGY_NAMES, Strategy, TrainSettings

DISTILLED = "distilled"  # joint training with --distill


@dataclass
class CompareSettings(TrainSettings):
    """What `painters-mtl compare` can be told: all that a training can, and how often to train."""

    name: str = "comparison"
    """Name of the study: it becomes the folder models/NAME."""
    seeds: int = 5
    """How many trainings of each network; they differ in everything that chance decides, but not in the split."""
    folds: int = 0
    """Cross-validate: every painting is in the test part of one of so many splits, but for those that trained the model
    which the backbone starts from. 0: the one split of a training."""
    strategies: tuple[Literal["all", "distilled"] | Strategy, ...] = ("joint",)
    """The ways of training the tasks together that are compared with the baselines (see --strategy); all: every one.
    distilled: joint, and taught by the baselines of the same seed (see --distill)."""
    engine: Literal["local", "ray"] = "local"
    """What does the trainings: local, this process, one after the other; ray, the machines of a Ray cluster, each the
    next one. All must see the data, the cache and the models at the same paths."""
    ray_address: str = ""
    """With --engine ray, a cluster that runs: host:port, or auto for the one of this machine. Without it, one is
    started here for the time of the command."""
    ray_cpus: int = 0
    """With --engine ray, how many cores a training takes. 0: as many as this machine has, or the smallest of the
    cluster; the results are then those of --engine local, with another number their last digits differ."""

    NOT_STORED = TrainSettings.NOT_STORED | {"engine", "ray_address", "ray_cpus"}

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        super().__post_init__()
        if not self.baselines:
            raise UserError("--no-baselines is for one training: a study compares with the baselines")
        command_line.check_numbers(self, seeds=1)
        if self.seed + self.seeds - 1 > LAST_SEED:
            raise UserError(f"--seed {self.seed} with --seeds {self.seeds}: the last seed would be above {LAST_SEED}")
        if self.folds == 1 or self.folds < 0:
            raise UserError(f"--folds {self.folds} cannot be: 2 or more, or 0 for one split")
        if self.folds and self.split is not None:
            raise UserError("--folds makes splits of its own: leave --split out")
        for name in self.strategies:
            if name not in (choices := ("all", DISTILLED, *STRATEGY_NAMES)):
                raise UserError(f"--strategies {name} is unknown: {', '.join(choices)}")
        every = (STRATEGY_NAMES if name == "all" else (name,) for name in self.strategies)
        self.strategies = tuple(dict.fromkeys(chain.from_iterable(every)))
        self.check_sharing([name for name in self.strategies if name != DISTILLED])
        self._check_distilled()
        if self.strategy != "joint":
            raise UserError(f"--strategy {self.strategy} is for one training; a study has --strategies")
        if self.folds and (self.start_from or self.teachers):
            raise UserError(
                "--folds tests every painting, and --start-from and --teachers have seen some: leave them out"
            )
        if self.distribute not in ("none", "mirrored"):
            raise UserError(f"--distribute {self.distribute} is for one training; a study can have mirrored")
        if self.engine == "ray" and self.distribute != "none":
            raise UserError("--engine ray gives each training to one machine or GPU: leave --distribute out")
        command_line.check_engine(self)
        if not self.strategies:
            raise UserError("--strategies is empty: name at least one, joint")

    def _check_distilled(self) -> None:
        """Raise `UserError` where a distilled network cannot be trained in this study."""
        if self.distill:
            raise UserError("--distill is for one training; a study has --strategies joint,distilled")
        if DISTILLED not in self.strategies:
            return
        for option, given in (
            ("--engine ray", self.engine == "ray"),
            ("--teachers", bool(self.teachers)),
            ("--start-from", bool(self.start_from)),
            ("--budget equal-updates", self.budget == "equal-updates"),
        ):
            if given:
                raise UserError(f"--strategies distilled waits for the baselines, its teachers: leave {option} out")
