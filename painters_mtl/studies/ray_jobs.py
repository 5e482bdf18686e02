"""`compare --engine ray`: the machines of a Ray cluster share the trainings of a study.

What is done on the machines is what is done without it: `jobs.run_job`. A training whose machine dies goes on from its
checkpoint on another machine.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common import interrupts, lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.ray_cluster import (
    MAX_TRIES,
    WorkerResources,
    enter_worker,
    first_line,
    has_room,
    ray_connection,
    worker_resources,
)

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset
    from painters_mtl.studies.jobs import TrainingJob
    from painters_mtl.training.run_result import RunResult
    from painters_mtl.training.settings import TrainSettings

ENDING = 60  # seconds in which trainings save themselves after Ctrl-C


def trainings(
    pieces: Sequence["TrainingJob"], parts: Sequence["Dataset"], settings: "TrainSettings", address: str, cpus: int
) -> Iterator[tuple["TrainingJob", "RunResult"]]:
    """Do the trainings of a study, in the order in which they end; nothing more comes after Ctrl-C.

    Args:
        parts: the data of each fold; the workers read the pixels from the store's file.
        cpus: cores of a training; 0: see `worker_resources`.
    """
    from painters_mtl.studies.jobs import job_label

    with ray_connection(address) as ray, interrupts.deferred():
        resources = worker_resources(ray, cpus)
        start = ray.remote(_train).options(
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0, scheduling_strategy="SPREAD"
        )
        store = replace(parts[0].images, pixels=parts[0].images.pixels[:0])
        data = ray.put([replace(part, images=store) for part in parts])
        fixed = (data, parts[0].images.pixels.shape, settings, str(Path.cwd()), resources.threads)
        print(f"{len(pieces)} trainings on a Ray cluster, {resources.count} at once with {resources} each", flush=True)
        began, waiting = time.perf_counter(), list(pieces)
        updates: dict[TrainingJob, int] = {}
        room = True
        running: dict[Any, TrainingJob] = {}
        deaths: Counter[TrainingJob] = Counter()
        begun: set[TrainingJob] = set()
        while waiting or running:
            for piece in [piece for piece in waiting if piece.after is None or piece.after in updates]:
                waiting.remove(piece)
                needed = updates[piece.after] if piece.after else 0
                running[start.remote(*fixed, piece, needed, piece in begun)] = piece
                begun.add(piece)
            ended, _ = ray.wait(list(running), timeout=1)
            if interrupts.requested():
                interrupts.acknowledge()
                _end(ray, list(running))
                return
            for answer in ended:
                piece = running.pop(answer)
                try:
                    outcome = ray.get(answer)
                except ray.exceptions.RayTaskError as error:  # raised by our own code
                    _end(ray, list(running))
                    raise UserError(str(error.cause)) if isinstance(error.cause, UserError) else error from None
                except ray.exceptions.RayError as error:
                    outcome, deaths[piece] = None, deaths[piece] + 1
                    if deaths[piece] >= MAX_TRIES:
                        _end(ray, list(running))
                        raise UserError(
                            f"the training of {piece} lost its machine {MAX_TRIES} times ({first_line(error)}): see to "
                            "the machines' memory; the same command goes on"
                        ) from error
                if outcome is None or outcome.interrupted:  # by whoever takes the machine away
                    print(f"the machine that trained {piece} is gone: another goes on", flush=True)
                    waiting.insert(0, piece)
                    continue
                updates[piece] = outcome.metrics["updates"]
                spent, left = time.perf_counter() - began, len(pieces) - len(updates)
                print(
                    f"{len(updates)} of {len(pieces)} trained: {piece}{job_label(spent / len(updates) * left)}",
                    flush=True,
                )
                yield piece, outcome
            if (waiting or running) and room != (room := has_room(ray, resources)):  # Ray would wait without a word
                print("a machine is there again" if room else _no_room(resources), flush=True)


def _no_room(resources: WorkerResources) -> str:
    return f"no machine of the cluster has {resources} any more: waiting until one joins it; Ctrl-C ends the study"


def _end(ray: Any, running: list[Any]) -> None:
    """Have trainings end as Ctrl-C does: after their step, with a checkpoint."""
    for answer in running:
        ray.cancel(answer)
    if running:
        ray.wait(running, num_returns=len(running), timeout=ENDING)


def _train(
    data: list["Dataset"],
    shape: tuple[int, ...],
    settings: "TrainSettings",
    where: str,
    threads: int,
    piece: "TrainingJob",
    updates: int,
    again: bool,
) -> "RunResult":
    """In a worker: one training."""
    enter_worker(where, threads)
    lazy_imports.import_tensorflow()
    import numpy as np

    from painters_mtl.studies.jobs import run_job
    from painters_mtl.training.run_folder import run_folder_lock

    if again:  # a worker outlives its machine's Ray by a second or two, and may still be writing
        with run_folder_lock(piece.folder, wait=True):
            pass
    pixels: np.ndarray = np.memmap(data[0].images.folder / "pixels.u8", np.uint8, "r", shape=shape)
    store = replace(data[0].images, pixels=pixels)
    return run_job(piece, [replace(part, images=store) for part in data], settings, updates)
