"""`compare --engine ray`: the machines of a Ray cluster share the trainings of a study.

What is done on the machines is what is done without it: `jobs.run_job`. A training whose machine dies goes on from its
checkpoint on another machine.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common import interrupts, lazy_imports
from painters_mtl.common.errors import UserError, first_line
from painters_mtl.common.messages import say
from painters_mtl.common.ray_cluster import (
    MAX_TRIES,
    WorkerResources,
    enter_worker,
    has_room,
    ray_connection,
    worker_resources,
)
from painters_mtl.studies.jobs import TrainingJob, run_job, time_left

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset
    from painters_mtl.training.run_result import RunResult
    from painters_mtl.training.settings import TrainSettings

ENDING = 60  # seconds in which trainings save themselves after Ctrl-C


def run_jobs_on_ray(
    jobs: Sequence[TrainingJob], datasets: Sequence["Dataset"], settings: "TrainSettings", address: str, cpus: int
) -> Iterator[tuple[TrainingJob, "RunResult"]]:
    """Do the trainings of a study, each with its result, in the order in which they end; none more after Ctrl-C.

    Args:
        datasets: the data of each fold; the workers read the pixels from the file of the image cache.
        address: of the cluster, see `ray_connection`.
        cpus: cores of a training; 0: see `worker_resources`.
    """
    with ray_connection(address) as ray, interrupts.deferred():
        queue = _JobQueue(ray, jobs, datasets, settings, worker_resources(ray, cpus))
        while queue.waiting or queue.running:
            queue.start_jobs()
            ended, _ = ray.wait(list(queue.running), timeout=1)
            if interrupts.requested():
                interrupts.acknowledge()
                queue.end()
                return
            for reference in ended:
                job, result = queue.take(reference)
                if result is not None:
                    yield job, result
            queue.tell_room()


class _JobQueue:
    """The trainings that wait, that run and that are done, and how often each of them lost its machine."""

    def __init__(
        self, ray: Any, jobs: Sequence[TrainingJob], datasets: Sequence["Dataset"], settings: "TrainSettings",
        resources: WorkerResources,
    ) -> None:  # fmt: skip
        self.ray, self.resources, self.count = ray, resources, len(jobs)
        self.waiting = list(jobs)
        self.running: dict[Any, TrainingJob] = {}  # by Ray's reference to the result
        self.started: set[TrainingJob] = set()
        self.steps: dict[TrainingJob, int] = {}  # of those that are done
        self.deaths: Counter[TrainingJob] = Counter()
        self.room = True
        self.seconds: list[float] = []  # of each training that is done, now or before
        images = datasets[0].images
        no_pixels = replace(images, pixels=images.pixels[:0])
        data = ray.put([replace(each, images=no_pixels) for each in datasets])
        self.arguments = (data, images.pixels.shape, settings, str(Path.cwd()), resources.threads)
        self.train = ray.remote(_train).options(
            num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0, scheduling_strategy="SPREAD"
        )
        say(f"{len(jobs)} trainings on a Ray cluster, {resources.count} at once with {resources} each")

    def start_jobs(self) -> None:
        """Hand all trainings to Ray that wait for no other any more; it starts them where there is room."""
        for job in [job for job in self.waiting if job.after is None or job.after in self.steps]:
            self.waiting.remove(job)
            steps = self.steps[job.after] if job.after else 0
            self.running[self.train.remote(*self.arguments, job, steps, job in self.started)] = job
            self.started.add(job)

    def take(self, reference: Any) -> "tuple[TrainingJob, RunResult | None]":
        """A training that ended, and its result; None where its machine is gone: it then waits again.

        Raises `UserError` where the training did, or lost its machine too often.
        """
        job = self.running.pop(reference)
        result: RunResult | None = None
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # raised by our own code
            self.end()
            raise UserError(str(error.cause)) if isinstance(error.cause, UserError) else error from None
        except self.ray.exceptions.RayError as error:
            self.deaths[job] += 1
            if self.deaths[job] >= MAX_TRIES:
                self.end()
                raise UserError(
                    f"the training of {job} lost its machine {MAX_TRIES} times ({first_line(error)}): see to the "
                    "machines' memory; the same command goes on"
                ) from error
        if result is None or result.interrupted:  # by whoever takes the machine away
            say(f"the machine that trained {job} is gone: another goes on")
            self.waiting.insert(0, job)
            return job, None
        self.steps[job] = result.metrics["updates"]
        self.seconds.append(result.metrics["training_seconds"])
        done = len(self.steps)
        left = time_left(self.seconds, self.count - done, self.resources.count)
        say(f"{done} of {self.count} trained: {job}{left}")
        return job, result

    def tell_room(self) -> None:
        """Say when no machine is large enough any more, and when one is again: Ray would wait without a word."""
        if not (self.waiting or self.running) or self.room == has_room(self.ray, self.resources):
            return
        self.room = not self.room
        if self.room:
            say("a machine is there again")
        else:
            wait = "waiting until one joins it; Ctrl-C ends the study"
            say(f"no machine of the cluster has {self.resources} any more: {wait}")

    def end(self) -> None:
        """Have the trainings end as Ctrl-C does: after their step, with a checkpoint."""
        references = list(self.running)
        for reference in references:
            self.ray.cancel(reference)
        if references:
            self.ray.wait(references, num_returns=len(references), timeout=ENDING)


def _train(
    datasets: list["Dataset"],
    shape: tuple[int, ...],
    settings: "TrainSettings",
    directory: str,
    threads: int,
    job: TrainingJob,
    steps: int,
    again: bool,
) -> "RunResult":
    """In a worker: the result of one training.

    Args:
        datasets: the data of each fold, without the pixels.
        shape: of the pixels in the file of the image cache.
        directory: where the command was called; relative paths start there.
        threads: of TensorFlow.
        steps: of the training that it waited for.
        again: a worker that is gone has started it already.
    """
    enter_worker(directory, threads)
    lazy_imports.import_tensorflow()
    import numpy as np

    from painters_mtl.training.run_folder import run_folder_lock

    if again:  # a worker outlives its machine's Ray by a second or two, and may still be writing
        with run_folder_lock(job.folder, wait=True):
            pass
    pixels: np.ndarray = np.memmap(datasets[0].images.folder / "pixels.u8", np.uint8, "r", shape=shape)
    images = replace(datasets[0].images, pixels=pixels)
    return run_job(job, [replace(each, images=images) for each in datasets], settings, steps)
