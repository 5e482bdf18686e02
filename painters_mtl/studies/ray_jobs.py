"""`--engine ray`: the machines of a Ray cluster share the trainings of a study, or the files of a folder.

All that knows Ray is here. What is done on the machines is what is done without it: `study.train_piece` for a training,
`predict.rows` for some files. What a machine had in its hands when it died, another does again: a training goes on from
its checkpoint, and files come back as whole groups or not at all. Ray's own retries are not used: an actor that waits
for room to start again keeps its work, and where no machine is left with room, that is for ever.
"""

import json
import logging
import os
import pickle
import socket
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common import command_line, interrupts
from painters_mtl.common.errors import UserError
from painters_mtl.inference.runtimes import import_extra

if TYPE_CHECKING:
    from painters_mtl.data.dataset import Dataset
    from painters_mtl.images.files import ImageFile
    from painters_mtl.studies.jobs import TrainingJob
    from painters_mtl.training.fit import RunResult
    from painters_mtl.training.settings import TrainSettings

TRIES = 4  # of one training, or of a group of files in which nothing at all came back, before somebody must look
BATCHES = 8  # in a group of files: more cost more when a machine dies, fewer keep the network waiting
ENDING = 60  # seconds in which trainings save themselves after Ctrl-C
# By this name Ray asks whether a machine may be known by another address than 127.0.0.1, on any system.
MORE_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or Ray warns of it
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """The module ray, connected to a running cluster; without an address, to one that lives as long as the block.

    The latter listens on this machine's loopback only. Raises `UserError` where there is no Ray, or no such cluster.
    """
    ray = check(address)
    address = _address(address)
    own = {"include_dashboard": False} if address == "local" else {}
    try:
        with command_line.quiet():
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:  # another version of Ray, a machine too busy to start it, ...: Ray raises all sorts
        raise UserError(f"--engine ray does not come to work with {address}: {_first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def check(address: str) -> Any:
    """The module ray. Raises `UserError` where there is none, or nobody listens at the address: soon, and before work.

    Ray itself would try to reach it for a minute.
    """
    os.environ.update(QUIET)
    address = _address(address)
    if address == "local":  # then it listens on loopback alone; read when Ray is imported
        os.environ[MORE_MACHINES] = "0"
    with command_line.quiet():
        ray = import_extra("ray", "ray")
    if address in ("local", "auto"):
        return ray
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise UserError(f"--ray-address (or RAY_ADDRESS) {address} must be host:port, or auto, on one of its machines")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"--ray-address {address}: no Ray cluster answers there ({error}); ray start makes one"
        ) from error
    return ray


def _address(address: str) -> str:
    return address or os.environ.get("RAY_ADDRESS", "") or "local"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@dataclass(frozen=True)
class WorkerResources:
    """What one worker gets of the cluster."""

    cpus: int
    gpus: int
    count: int  # so many find room at once
    threads: int  # of TensorFlow


def worker_resources(ray: Any, wanted: int) -> WorkerResources:
    """As many cores as are wanted, or as this machine has; where the smallest machine has fewer, that many.

    TensorFlow adds up numbers in an order that depends on its threads. So, unless a number is wanted, these are as many
    as it would have here, however small the machine: then the results are the same to the last bit.
    """
    nodes = _machines(ray)
    gpus = int(any(node.get("GPU", 0) >= 1 for node in nodes))
    nodes = [node for node in nodes if node.get("GPU", 0) >= gpus]
    if not nodes:
        raise UserError("no machine of the Ray cluster has a core to work with")
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = wanted or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or here
    cpus = max(1, min(threads, *(int(node["CPU"] // max(1, gpus * node.get("GPU", 0))) for node in nodes)))
    count = sum(int(min(node["CPU"] // cpus, node["GPU"] if gpus else node["CPU"])) for node in nodes)
    return WorkerResources(cpus, gpus, count, threads)


def has_room(ray: Any, share: WorkerResources) -> bool:
    """Whether a machine of the cluster is large enough for one worker, be it busy or not."""
    return any(node["CPU"] >= share.cpus and node.get("GPU", 0) >= share.gpus for node in _machines(ray))


def _machines(ray: Any) -> list[dict[str, float]]:
    """What each machine with a core has, of those that are alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def _settle(where: str, threads: int) -> None:
    """In a worker: be where the command was called, so that the same paths mean the same."""
    try:
        os.chdir(where)
    except OSError as error:
        raise UserError(
            f"the machine {socket.gethostname()} does not have the folder {where} ({error.strerror}): all machines of "
            "the cluster must see the same files at the same paths"
        ) from error
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)


# ------------------------------------------------------------------------------------------------- a study


def trainings(
    pieces: Sequence["TrainingJob"], parts: Sequence["Dataset"], settings: "TrainSettings", address: str, cpus: int
) -> Iterator[tuple["TrainingJob", "RunResult"]]:
    """Do the trainings of a study, in the order in which they end; nothing more comes after Ctrl-C.

    Args:
        parts: the data of each fold; the workers read the pixels from the store's file.
        cpus: cores of a training; 0: see `share_of`.
    """
    from painters_mtl.studies.jobs import job_label

    with connected(address) as ray, interrupts.deferred():
        share = worker_resources(ray, cpus)
        start = ray.remote(_train).options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0, scheduling_strategy="SPREAD"
        )
        store = replace(parts[0].store, pixels=parts[0].store.pixels[:0])
        data = ray.put([replace(part, store=store) for part in parts])
        fixed = (data, parts[0].store.pixels.shape, settings, str(Path.cwd()), share.threads)
        print(f"{len(pieces)} trainings on a Ray cluster, {share.count} at once with {_cores(share)} each", flush=True)
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
                    if deaths[piece] >= TRIES:
                        _end(ray, list(running))
                        raise UserError(
                            f"the training of {piece} lost its machine {TRIES} times ({_first_line(error)}): see to "
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
            if (waiting or running) and room != (room := has_room(ray, share)):  # Ray would wait without a word
                print("a machine is there again" if room else _no_room(share), flush=True)


def _no_room(share: WorkerResources) -> str:
    return f"no machine of the cluster has {_cores(share)} any more: waiting until one joins it; Ctrl-C ends the study"


def _cores(share: WorkerResources) -> str:
    return f"{share.cpus} core{'s' * (share.cpus > 1)}" + " and a GPU" * share.gpus


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
    _settle(where, threads)
    command_line.import_tensorflow()
    import numpy as np

    from painters_mtl.studies.jobs import run_job
    from painters_mtl.training.fit import run_folder_lock

    if again:  # a worker outlives its machine's Ray by a second or two, and may still be writing
        with run_folder_lock(piece.folder, wait=True):
            pass
    pixels: np.ndarray = np.memmap(data[0].store.folder / "pixels.u8", np.uint8, "r", shape=shape)
    store = replace(data[0].store, pixels=pixels)
    return run_job(piece, [replace(part, store=store) for part in data], settings, updates)


# ------------------------------------------------------------------------------------------------- a folder of files


def label_files(
    files: Sequence["ImageFile"], opening: dict[str, Any], ways: dict[str, Any], address: str, cpus: int
) -> Iterator[dict[str, Any]]:
    """The journal's row of each file, once, as the groups come back from the machines.

    Args:
        opening: what `predict.open_network` is called with, in each worker.
        ways: what `predict.rows` is called with.
        cpus: cores of a worker, of which each machine has as many as find room; 0: see `share_of`.

    Raises `UserError` when nothing comes back any more.
    """
    with connected(address) as ray:
        data = import_extra("ray.data", "ray")
        share = worker_resources(ray, cpus)
        size = ways["batch_size"]
        size *= max(1, min(BATCHES, len(files) // (4 * share.count * size)))
        # Groups of whole batches: a picture is in the same company as without Ray, and its numbers are the same.
        groups = [files[i : i + size] for i in range(0, len(files), size)]
        missing, tries = dict(enumerate(groups)), 0
        while missing:
            before = len(missing)
            for number, found in _round(ray, data, missing, opening, ways, worker_resources(ray, cpus)):
                if missing.pop(number, None) is not None:
                    yield from found
            tries = 0 if len(missing) < before else tries + 1
            if missing:
                left = sum(map(len, missing.values()))
                print(f"\na machine is gone: others label its pictures ({left:,} are left)", file=sys.stderr)
            if tries == TRIES:
                first = next(iter(missing.values()))
                raise UserError(
                    f"the workers die over {first[0]} and what follows it ({len(first)} pictures): see to the "
                    "machines' memory; --resume goes on"
                )


def _round(
    ray: Any, data: Any, groups: dict[int, Sequence["ImageFile"]], opening: dict[str, Any], ways: dict[str, Any],
    share: WorkerResources,
) -> Iterator[tuple[int, list[dict[str, Any]]]]:  # fmt: skip
    """Ask for the rows of all groups; those of a machine that dies do not come back."""
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    items = [{"number": number, "files": pickle.dumps(list(files))} for number, files in groups.items()]
    settled = {**ways, "threads": ways["threads"] or share.cpus}
    with warnings.catch_warnings(action="ignore"):  # of arguments that are to go in Ray 2.64, as max_task_retries
        found = data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Labeller,
            fn_constructor_args=(opening, settled, str(Path.cwd()), share.threads),
            batch_size=1,
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            compute=data.ActorPoolStrategy(size=min(share.count, len(items))),
            max_task_retries=0,  # an actor keeps its work while it waits for room to start again
        )
    try:
        for batch in found.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
            for number, text in zip(batch["number"], batch["rows"], strict=True):
                answer = json.loads(text)
                if "refused" in answer:
                    raise UserError(answer["refused"])
                if "failed" in answer:
                    raise RuntimeError(f"in a worker:\n{answer['failed']}")
                yield int(number), answer["rows"]
    except ray.exceptions.RayError as error:  # what was lost is asked for again
        if getattr(error, "actor_init_failed", False):  # nothing died: it would fail again
            reason = (str(error).strip().splitlines() or ["no reason given"])[-1][:200]
            raise UserError(
                f"a machine of the cluster cannot start a worker ({reason}): install this package there, as here"
            ) from error
        return


class _Labeller:
    """In a worker: opens the network once, and labels a group of files at each call."""

    def __init__(self, opening: dict[str, Any], ways: dict[str, Any], where: str, threads: int) -> None:
        self.opening, self.ways, self.where, self.threads = opening, ways, where, threads
        self.opened: tuple[Any, Any] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns number and files (pickled) of one group to number and rows (JSON), or what went wrong."""
        try:
            answer: dict[str, Any] = {"rows": list(self._rows(pickle.loads(batch["files"][0])))}
        except UserError as error:
            answer = {"refused": str(error)}
        except Exception:  # Ray Data would pass over it, as over the death of a machine
            answer = {"failed": traceback.format_exc()}
        return {"number": batch["number"], "rows": [json.dumps(answer)]}

    def _rows(self, files: list["ImageFile"]) -> Iterable[dict[str, Any]]:
        from painters_mtl import predict

        if self.opened is None:
            _settle(self.where, self.threads)
            self.opened = predict.open_network(**self.opening)
        run, forward = self.opened
        return predict.rows(run, forward, files, **self.ways)
