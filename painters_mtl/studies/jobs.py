"""A study as a list of trainings, most of which wait for no other; done here one after the other, or by an engine."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from painters_mtl.common import interrupts
from painters_mtl.common.messages import say
from painters_mtl.data.dataset import Dataset
from painters_mtl.studies.settings import DISTILLED
from painters_mtl.training.fit import fit, fit_single_task
from painters_mtl.training.run_result import RunResult
from painters_mtl.training.settings import STRATEGY_NAMES, TrainSettings


@dataclass(frozen=True)
class TrainingJob:
    """One training of a study."""

    kind: str  # how a network for all tasks is trained, or the task that a network is trained for alone
    seed: int
    fold: int
    folder: Path
    after: "TrainingJob | None" = None  # the training whose number of steps it is to have

    def __str__(self) -> str:
        """For people: "style alone, seed0-fold1"."""
        return f"{self.kind}{'' if self.for_all_tasks else ' alone'}, {self.folder.parent.name}"

    @property
    def for_all_tasks(self) -> bool:
        """Whether it trains a network for all tasks, in one way or another."""
        return self.kind in (*STRATEGY_NAMES, DISTILLED)


def training_jobs(
    settings: TrainSettings, seeds: int, folds: int, kinds: Sequence[str], folder: Path
) -> list[TrainingJob]:
    """All trainings of a study, seed by seed; what another waits for comes before it.

    Args:
        folds: 0 for one split.
        kinds: strategies, then tasks; under `--budget equal-updates` a task's network waits for the first strategy's.
        folder: for the run folders, seedS/KIND or seedS-foldF/KIND.
    """
    jobs = []
    for seed in range(settings.seed, settings.seed + seeds):
        for fold in range(max(folds, 1)):
            place = folder / (f"seed{seed}" + (f"-fold{fold}" if folds else ""))
            first = TrainingJob(kinds[0], seed, fold, place / kinds[0])
            for kind in kinds:
                job = TrainingJob(kind, seed, fold, place / kind)
                waits = settings.budget == "equal-updates" and not job.for_all_tasks
                jobs.append(replace(job, after=first) if waits else job)
    return jobs


def run_job(job: TrainingJob, datasets: Sequence[Dataset], settings: TrainSettings, steps: int) -> RunResult:
    """The result of one training, done now or read back.

    What is trained already is never thrown away here: `compare` has seen to --overwrite. Nor has a training to be there
    where the study goes on: one that was kept without its network is trained again where it is to teach.

    Args:
        datasets: the data of each fold.
        steps: those of the training that it waited for.
    """
    own_settings = replace(settings.of_one_training(), seed=job.seed, overwrite=False, resume=False)
    if job.for_all_tasks:
        way = {"distill": True} if job.kind == DISTILLED else {"strategy": job.kind}
        own_settings = replace(own_settings, **way)  # type: ignore[arg-type]
        # With --distill its teachers are the networks that it is compared with.
        return fit(datasets[job.fold], own_settings, job.folder, keep_model=False, teachers_folder=job.folder.parent)
    return fit_single_task(datasets[job.fold], own_settings, job.folder, job.kind, steps, keep_model=False)


def run_jobs(
    jobs: Sequence[TrainingJob], datasets: Sequence[Dataset], settings: TrainSettings
) -> Iterator[tuple[TrainingJob, RunResult]]:
    """Do the trainings in their order, each with its result; ends behind the last complete one when Ctrl-C came."""
    steps: dict[TrainingJob, int] = {}
    seconds: list[float] = []  # of the trainings, also of those that were done before and are read back
    for done, job in enumerate(jobs):
        say(f"\ntraining {done + 1} of {len(jobs)}: {job}{time_left(seconds, len(jobs) - done)}")
        try:
            result = run_job(job, datasets, settings, steps[job.after] if job.after else 0)
        except KeyboardInterrupt:  # in a teacher of a distilled network, or between two trainings
            interrupts.acknowledge()  # the seeds that are done are compared, which is not to be interrupted once more
            return
        if result.interrupted:
            return
        steps[job] = result.metrics["updates"]
        seconds.append(result.metrics["training_seconds"])
        yield job, result


def time_left(seconds: Sequence[float], count: int, at_once: int = 1) -> str:
    """How long a study still takes, as the end of a line; empty where that is no more than a minute.

    Args:
        seconds: of each training that is done.
        count: of the trainings that are left.
        at_once: how many train at the same time.
    """
    left = sum(seconds) / max(len(seconds), 1) * math.ceil(count / max(at_once, 1))
    return f", about {left / 60:.0f} min left" if left > 60 else ""
