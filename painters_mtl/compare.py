"""One network against three, with evidence: several seeds (and folds) of the shared network and of the baselines.

    python -m painters_mtl.compare --data FOLDER --fine-tune heads      # minutes: the backbone's features are shared
    python -m painters_mtl.compare --data FOLDER --seeds 5 --name study # hours: every network trains its backbone
    python -m painters_mtl.compare --data FOLDER --fine-tune heads --shared-layers 256 --strategies all
    python -m painters_mtl.compare --data FOLDER --folds 5 --seeds 1    # cross-validation, for small collections

    python -m painters_mtl.compare --resume --name study                # goes on where it was ended
    python -m painters_mtl.compare --data FOLDER --engine ray           # the trainings spread over a Ray cluster

Writes models/NAME/comparison.json, comparison.csv and report.html. The same command goes on where it was ended, too.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from painters_mtl.common import command_line, lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_write, write_json
from painters_mtl.runs.run import COMPARISON, CONFIG
from painters_mtl.training.preflight import check_network, check_sources
from painters_mtl.training.resume import resume_command, settings_to_resume
from painters_mtl.training.run_folder import new_run_folder, prepare_run_folder, run_folder_lock
from painters_mtl.training.settings import STRATEGIES, Strategy, TrainSettings

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset
    from painters_mtl.training.run_result import RunResult

SeedResults = list[list["RunResult"]]  # for each seed, the outcome of each fold


@dataclass
class CompareSettings(TrainSettings):
    """What `python -m painters_mtl.compare` can be told: all that a training can, and how often to train."""

    name: str = "comparison"
    """Name of the study: it becomes the folder models/NAME."""
    seeds: int = 5
    """How many trainings of each network; they differ in everything that chance decides, but not in the split."""
    folds: int = 0
    """Cross-validate: every painting is in the test part of one of so many splits. 0: the one split of a training."""
    strategies: tuple[Literal["all"] | Strategy, ...] = ("joint",)
    """The ways of training the tasks together that are compared with the baselines (see --strategy); all: every one."""
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
        if self.folds == 1 or self.folds < 0:
            raise UserError(f"--folds {self.folds} cannot be: 2 or more, or 0 for one split")
        if self.folds and self.split is not None:
            raise UserError("--folds makes splits of its own: leave --split out")
        if "all" in self.strategies:
            self.strategies = STRATEGIES
        self.strategies = tuple(dict.fromkeys(self.strategies))
        self.check_sharing(self.strategies)
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


def run(settings: CompareSettings, named: frozenset[str] = frozenset()) -> int:
    """The verb: data, trainings, statistics, report. Returns 0, or 130 when Ctrl-C ended it early.

    Args:
        named: the settings that the command line names; --resume takes the others from the study.
    """
    settings = settings_to_resume(settings, named)
    check_network(settings, trained_here=settings.engine == "local")
    folder = prepare_run_folder(settings)
    check_sources(settings, folder)
    if settings.engine == "ray":
        from painters_mtl.common.ray_cluster import check_cluster

        check_cluster(settings.ray_address)
    from painters_mtl.data.dataset import prepare
    from painters_mtl.data.summary import split_summary

    data = prepare(settings, cross_validated=settings.folds > 0)
    if settings.dry_run:
        print(split_summary(data))
        return 0
    names = data.trainable_tasks()
    if len(names) < 2:
        raise UserError(f"only {', '.join(names) or 'no task'} has labels in train and test: there is nothing to share")
    lazy_imports.import_tensorflow()
    try:
        return _study(data, settings, folder, names)
    except KeyboardInterrupt:  # between two trainings, or behind the last
        if folder.is_dir():
            print(resume_command("compare", settings, folder), flush=True)
        raise


def _study(data: "Dataset", settings: CompareSettings, folder: Path, names: list[str]) -> int:
    """Train and compare in a folder that no other process writes to; returns the verb's status."""
    with run_folder_lock(folder, wait=False), new_run_folder(folder, replace=settings.overwrite):
        return _train_and_compare(data, settings, folder, names)


def _train_and_compare(data: "Dataset", settings: CompareSettings, folder: Path, names: list[str]) -> int:
    """Train all that is not trained yet, compare, write the report; returns the verb's status."""
    from painters_mtl.reports.study_report import write_study_report
    from painters_mtl.studies.comparison import compare, compare_strategies, study_table, text, ways_text
    from painters_mtl.studies.timing import time_predictions

    settings.save(folder / CONFIG)
    sides = train_all(data, settings, folder / "runs", names)
    complete = min(len(side) for side in sides.values())
    if complete == 0:
        print(f"interrupted before the first seed was done; {resume_command('compare', settings, folder)}")
        return 130
    sides = {name: side[:complete] for name, side in sides.items()}
    speed = time_predictions(data, settings, names)
    alone = {name: sides[name] for name in names}
    results: dict[str, Any] = {name: compare(data, sides[name], alone, speed) for name in settings.strategies}
    first = settings.strategies[0]
    for way in settings.strategies[1:]:
        results[way]["against"] = compare_strategies(data, sides[way], sides[first], names)
    study = {"seeds": complete, "folds": settings.folds, "budget": settings.budget, "demo": data.demo}
    write_json(folder / COMPARISON, {**study, "strategies": results})
    with atomic_write(folder / "comparison.csv") as temporary:
        study_table(results).to_csv(temporary, index=False)
    write_study_report(folder, data, settings, sides, results)
    for name, result in results.items():
        print(f"\n{name}, {complete} seeds against {complete} of each baseline")
        print(text(result))
    if len(results) > 1:
        print(f"\n{ways_text(results, first)}")
    print(f"wrote {folder}: open {folder / 'report.html'}")
    if complete < settings.seeds:
        print(f"interrupted after {complete} of {settings.seeds} seeds; {resume_command('compare', settings, folder)}")
        return 130
    return 0


def train_all(data: "Dataset", settings: CompareSettings, folder: Path, names: list[str]) -> dict[str, SeedResults]:
    """All trainings of a study; Ctrl-C leaves out the seeds that are not whole.

    Returns the outcomes of each strategy and of each task alone, {name: [seed][fold]}.
    """
    from painters_mtl.studies.jobs import run_jobs, training_jobs

    parts = folds_of(data, settings)
    kinds = [*settings.strategies, *names]
    pieces = training_jobs(settings, settings.seeds, settings.folds, kinds, folder)
    if settings.engine == "ray":
        from painters_mtl.studies.ray_jobs import trainings

        found = dict(trainings(pieces, parts, settings, settings.ray_address, settings.ray_cpus))
    else:
        found = dict(run_jobs(pieces, parts, settings))
    seeds = dict.fromkeys(piece.seed for piece in pieces)
    whole_seeds = [seed for seed in seeds if all(p in found for p in pieces if p.seed == seed)]
    return {
        kind: [[found[p] for p in pieces if (p.kind, p.seed) == (kind, seed)] for seed in whole_seeds] for kind in kinds
    }


def folds_of(data: "Dataset", settings: CompareSettings) -> list["Dataset"]:
    """The data with its one split, or with that of each fold."""
    if not settings.folds:
        return [data]
    from painters_mtl.data.split import make_folds

    splits = make_folds(data.labels, data.groups, settings.folds, settings.seed)
    return [replace(data, split=split) for split in splits]


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(CompareSettings, run, argv, "painters-mtl compare", __doc__, with_named=True)


if __name__ == "__main__":
    sys.exit(main())
