"""TF_CONFIG: the machines that train one network together, and which of them this is."""

import contextlib
import json
import os
import socket
import time
from dataclasses import dataclass

from painters_mtl.common import interrupts
from painters_mtl.common.errors import UserError

WAIT = 600.0  # seconds that a worker may be later than the first
LATE = "{} did not come within {} s: see why there, then start all workers again"
EXAMPLE = '{"cluster": {"worker": ["host1:12345", "host2:12345"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, "host:port", and the number of this one. Worker 0 is the chief: it alone writes."""

    addresses: tuple[str, ...]
    index: int

    def check_port(self) -> None:
        """Raise `UserError` where another program listens on the port of this worker.

        TensorFlow would share it with that program, and then wait for the others for ever.
        """
        port = int(self.addresses[self.index].rsplit(":", 1)[1])
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just given back is free
            try:
                probe.bind(("", port))
            except OSError as error:
                raise UserError(
                    f"port {port}, which TF_CONFIG gives to worker {self.index}, cannot be used "
                    f"({error.strerror}): end the program that has it, or give another port to all workers"
                ) from error

    def meet(self, seconds: float = WAIT) -> None:
        """Wait until all workers have come; the others may still be making their cached images.

        They meet at the port of worker 0, which TensorFlow then takes: its own wait has no end and hears no Ctrl-C.
        Raises `UserError` when a worker does not come in time.
        """
        if self.index:
            self._report_to_first(seconds)
        else:
            self._wait_for_others(seconds)

    def _report_to_first(self, seconds: float) -> None:
        """Tell worker 0 the number of this one, until it answers that all have come."""
        end = time.monotonic() + seconds
        host, port = self.addresses[0].rsplit(":", 1)
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), 5) as peer:
                peer.settimeout(max(1.0, end - time.monotonic()))
                peer.sendall(b"%d\n" % self.index)
                if peer.recv(1) == b"!":
                    return
            if time.monotonic() > end:
                raise UserError(LATE.format("worker 0, or one for whom it waits,", f"{seconds:g}"))
            interrupts.stop_if_requested()
            time.sleep(0.5)

    def _wait_for_others(self, seconds: float) -> None:
        """Take the numbers of the other workers; when all have come, and none has gone again, tell each of them."""
        end = time.monotonic() + seconds
        peers: dict[int, socket.socket] = {}
        with _listen(int(self.addresses[0].rsplit(":", 1)[1])) as server:
            while missing := [f"worker {i}" for i in range(1, len(self.addresses)) if _is_gone(peers.get(i))]:
                interrupts.stop_if_requested()
                server.settimeout(max(0.01, end - time.monotonic()))
                with contextlib.suppress(OSError, ValueError):  # another program, or nobody in time
                    peer, _ = server.accept()
                    peer.settimeout(5)
                    number = int(peer.recv(20))
                    peer.setblocking(False)
                    peers[number] = peer
                if time.monotonic() > end:
                    raise UserError(LATE.format(", ".join(missing), f"{seconds:g}"))
        for number, peer in peers.items():
            try:
                peer.sendall(b"!")
            except OSError as error:
                raise UserError(f"worker {number} is gone: see why there, then start all workers again") from error
            peer.close()

    def unreachable(self, seconds: float = 0.0) -> list[int]:
        """The numbers of the other workers whose port does not answer.

        While all answer, they are asked again for this many seconds: a process that ends closes its connections one by
        one, and the port that listens may be the last.
        """
        end = time.monotonic() + seconds
        while True:
            numbers = [i for i, address in enumerate(self.addresses) if i != self.index and not _answers(address)]
            if numbers or time.monotonic() > end:
                return numbers
            time.sleep(0.2)


def _answers(address: str) -> bool:
    """Whether a program listens at this address, host:port."""
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=3).close()
    except OSError:
        return False
    return True


def _listen(port: int) -> socket.socket:
    """A socket that listens on all addresses of this machine, of both kinds where it has both."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # switched off
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _is_gone(peer: socket.socket | None) -> bool:
    """Whether a worker has not come, or has hung up: after its number it sends nothing."""
    try:
        return peer is None or not peer.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True


def cluster_of_environment() -> Cluster | None:
    """The cluster that the environment variable TF_CONFIG describes; None where it is not set.

    It may name workers, and one chief before them. Raises `UserError` for anything else.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        content = json.loads(text)
        jobs = content["cluster"]
        if unknown := sorted(set(jobs) - {"chief", "worker"}):
            raise ValueError(f"it has {', '.join(unknown)}, and only chief and worker can be")
        kind, index = content["task"]["type"], content["task"]["index"]
        count = len(jobs[kind])
        if type(index) is not int or not 0 <= index < count:
            raise ValueError(f"task index {index!r} is none of the {count} {kind}s")
        addresses = tuple(str(address) for job in ("chief", "worker") for address in jobs.get(job, ()))
        for address in addresses:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ValueError(f"{address!r} is not host:port")
        if len(set(addresses)) < len(addresses):
            raise ValueError("two workers have one address")
        if len(jobs.get("chief", ())) > 1:
            raise ValueError("there are two chiefs")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"TF_CONFIG cannot be used ({reason}): on each machine it has to be like {EXAMPLE}") from error
    return Cluster(addresses, index + (len(jobs.get("chief", ())) if kind == "worker" else 0))


def cluster_asked_for(distribute: str) -> Cluster | None:
    """The cluster to train in under `--distribute`, None for one process; checked before anything is done."""
    if distribute not in ("auto", "multiworker"):
        return None
    cluster = cluster_of_environment()
    if distribute == "auto" and (cluster is None or len(cluster.addresses) == 1):
        return None
    if cluster is None:
        raise UserError(f"--distribute multiworker needs the environment variable TF_CONFIG, such as {EXAMPLE}")
    if len(cluster.addresses) == 1:
        raise UserError("--distribute multiworker: TF_CONFIG names one worker only; leave --distribute out")
    return cluster
