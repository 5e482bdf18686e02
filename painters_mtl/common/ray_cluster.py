"""A connection to a Ray cluster, and what one of its workers gets. `studies` and `inference` put their work on it.

Ray's own retries are not used by either: an actor that waits for room to start again keeps its work, and where no
machine is left with room, it waits for ever. What a machine was doing when it died is given to another one instead.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError, first_line
from painters_mtl.common.lazy_imports import import_extra
from painters_mtl.common.messages import counted

MAX_TRIES = 4  # of one training, or of a group of files in which nothing at all came back, before somebody must look
# By this name Ray asks whether a machine may have another address than 127.0.0.1, on any system.
MORE_MACHINES = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or Ray warns of it
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}
# One of Ray's processes asks the metadata hosts of three clouds where it runs, also where nothing is reported and there
# is no dashboard. It gets no answer from a proxy that is not there, and looks up no host; Ray itself uses none here.
ASKS_NOBODY = {name: "http://127.0.0.1:9" for name in ("http_proxy", "HTTP_PROXY")} | {
    name: "127.0.0.1,localhost" for name in ("no_proxy", "NO_PROXY")
}


@contextmanager
def ray_connection(address: str) -> Iterator[Any]:
    """The module ray, connected to a running cluster; without an address, to one that lives as long as the block.

    The latter listens on this machine's loopback only. Raises `UserError` where there is no Ray, or no such cluster.
    """
    ray = import_ray(address)
    address = _address(address)
    own = {"include_dashboard": False} if address == "local" else {}
    try:
        with lazy_imports.quiet(), lazy_imports.environment(**(ASKS_NOBODY if own else {})):
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **own)
    except Exception as error:  # another version of Ray, a machine too busy to start it, ...: Ray raises all sorts
        raise UserError(f"--engine ray does not come to work with {address}: {first_line(error)}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def import_ray(address: str) -> Any:
    """The module ray. Raises `UserError` where there is none, or nobody listens at the address: soon, and before work.

    Ray itself would try to reach it for a minute.
    """
    os.environ.update(QUIET)
    address = _address(address)
    if address == "local":  # then it listens on loopback alone; read when Ray is imported
        os.environ[MORE_MACHINES] = "0"
    with lazy_imports.quiet():
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
            f"--ray-address {address}: no Ray cluster answers there ({error}); start one with ray start"
        ) from error
    return ray


def _address(address: str) -> str:
    return address or os.environ.get("RAY_ADDRESS", "") or "local"


@dataclass(frozen=True)
class WorkerResources:
    """What one worker gets of the cluster."""

    cpus: int
    gpus: int
    count: int  # so many workers find room at once
    threads: int  # of TensorFlow

    def __str__(self) -> str:
        """In words: "2 cores and a GPU"."""
        return counted(self.cpus, "core") + (" and a GPU" if self.gpus else "")


def worker_resources(ray: Any, cpus: int) -> WorkerResources:
    """What a worker gets: `cpus` cores, or as many as this machine has; no more than the smallest machine has.

    TensorFlow adds up numbers in an order that depends on its threads. So, with 0 cpus, these are as many as it would
    have here, however small the machine: then the results are the same to the last bit.

    Args:
        cpus: cores that were asked for; 0: as many as this machine has.
    """
    nodes = _machines(ray)
    gpus = int(any(node.get("GPU", 0) >= 1 for node in nodes))
    nodes = [node for node in nodes if node.get("GPU", 0) >= gpus]
    if not nodes:
        raise UserError("no machine of the Ray cluster has a core to work with")
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = cpus or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or here
    cpus = max(1, min(threads, *(int(node["CPU"] // max(1, gpus * node.get("GPU", 0))) for node in nodes)))
    count = sum(int(min(node["CPU"] // cpus, node["GPU"] if gpus else node["CPU"])) for node in nodes)
    return WorkerResources(cpus, gpus, count, threads)


def has_room(ray: Any, resources: WorkerResources) -> bool:
    """Whether a machine of the cluster is large enough for one worker, be it busy or not."""
    return any(node["CPU"] >= resources.cpus and node.get("GPU", 0) >= resources.gpus for node in _machines(ray))


def _machines(ray: Any) -> list[dict[str, float]]:
    """What each machine with a core has, of those that are alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]


def enter_worker(folder: str, threads: int) -> None:
    """In a worker: go to the folder where the command was called, so that the same paths mean the same files.

    Args:
        threads: of TensorFlow.

    Raises `UserError` where the worker's machine does not have the folder.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(
            f"the machine {socket.gethostname()} does not have the folder {folder} ({error.strerror}): all machines of "
            "the cluster must see the same files at the same paths"
        ) from error
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(threads)
