"""A study as a list of trainings, most of which wait for no other; done here one after the other, or by an engine."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from painters_mtl.data.dataset import Dataset
from painters_mtl.training.fit import fit, fit_single_task
from painters_mtl.training.run_result import RunResult
from painters_mtl.training.settings import STRATEGIES, TrainSettings


@dataclass(frozen=True)
class TrainingJob:
    """One training of a study."""

    kind: str  # the strategy of a network for all tasks, or the task that a network is trained for alone
    seed: int
    fold: int
    folder: Path
    after: "TrainingJob | None" = None  # the one whose number of updates it is to have

    def __str__(self) -> str:
        """For people: "style alone, seed0-fold1"."""
        return f"{self.kind}{'' if self.kind in STRATEGIES else ' alone'}, {self.folder.parent.name}"


def training_jobs(
    settings: TrainSettings, seeds: int, folds: int, kinds: Sequence[str], folder: Path
) -> list[TrainingJob]:
    """All trainings of a study, seed by seed; what another waits for comes before it.

    Args:
        folds: 0 for one split.
        kinds: strategies, then tasks; under `--budget equal-updates` a task's network waits for the first strategy's.
    """
    pieces = []
    for seed in range(settings.seed, settings.seed + seeds):
        for fold in range(max(folds, 1)):
            where = folder / (f"seed{seed}" + (f"-fold{fold}" if folds else ""))
            first = TrainingJob(kinds[0], seed, fold, where / kinds[0])
            for kind in kinds:
                waits = settings.budget == "equal-updates" and kind not in STRATEGIES
                pieces.append(TrainingJob(kind, seed, fold, where / kind, first if waits else None))
    return pieces


def run_job(piece: TrainingJob, parts: Sequence[Dataset], settings: TrainSettings, updates: int) -> RunResult:
    """Do one training, or read back what came of it.

    What is trained already is never thrown away here: `compare` has seen to --overwrite.

    Args:
        parts: the data of each fold.
        updates: of the training that it waited for.
    """
    values = {field.name: getattr(settings, field.name) for field in fields(TrainSettings)}
    mine = TrainSettings(**{**values, "seed": piece.seed, "overwrite": False})
    if piece.kind in STRATEGIES:
        mine = replace(mine, strategy=piece.kind)  # type: ignore[arg-type]
        return fit(parts[piece.fold], mine, piece.folder, keep_model=False)
    return fit_single_task(parts[piece.fold], mine, piece.folder, piece.kind, updates, keep_model=False)


def run_jobs(
    pieces: Sequence[TrainingJob], parts: Sequence[Dataset], settings: TrainSettings
) -> Iterator[tuple[TrainingJob, RunResult]]:
    """Train them in their order; ends behind the last whole one when Ctrl-C came."""
    start = time.perf_counter()
    updates: dict[TrainingJob, int] = {}
    for done, piece in enumerate(pieces):
        left = (time.perf_counter() - start) / max(done, 1) * (len(pieces) - done) if done else 0.0
        print(f"\ntraining {done + 1} of {len(pieces)}: {piece}{job_label(left)}", flush=True)
        outcome = run_job(piece, parts, settings, updates[piece.after] if piece.after else 0)
        if outcome.interrupted:
            return
        updates[piece] = outcome.metrics["updates"]
        yield piece, outcome


def job_label(seconds: float) -> str:
    """How long it still takes, where that is more than a minute."""
    return f", about {seconds / 60:.0f} min left" if seconds > 60 else ""
