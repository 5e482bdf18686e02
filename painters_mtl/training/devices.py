"""Several GPUs of a machine, or several machines, train one network: `--distribute`.

Every device has a copy of the weights and sees its part of each batch. What the parts give (losses, gradients) is added
up over all devices before anything is done with it, so each of them knows what one device knows that sees the whole
batch, and all make the same step. TensorFlow's strategies hold the copies and do the sums: MirroredStrategy for the
devices of one process, MultiWorkerMirroredStrategy for a process on each machine. Keras's `fit` cannot work under the
latter (keras-team/keras #20585); nothing here is Keras's but layers and variables.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.common.errors import UserError
from painters_mtl.training.tf_config import Cluster, cluster_asked_for

SPREAD = 0x9E3779B9  # between the seeds of two devices: 2^32 over the golden ratio
PIECE = 2**16  # numbers that are sent at a time
SILENT = "a worker does not answer (what the others say tells why)"


class Devices:
    """The devices that train, seen from this process; without a strategy it is one, and nothing here does anything."""

    def __init__(self, strategy: tf.distribute.Strategy | None = None, cluster: Cluster | None = None) -> None:
        """Args:
        cluster: where there are other processes.
        """
        self.strategy, self.cluster = strategy, cluster
        self.count = 1 if strategy is None else strategy.num_replicas_in_sync
        """Of all processes together; the same number in each."""
        self.local_count = self.count // (len(cluster.addresses) if cluster else 1)
        """In this process."""
        self.first = self.local_count * (cluster.index if cluster else 0)
        """The number of the first one of this process."""
        self.chief = self.first == 0
        """Whether this process is the one that measures, prints and writes."""
        self._sum = None if cluster is None else tf.function(self._sum_of_processes)

    @contextlib.contextmanager
    def variables(self) -> Iterator[None]:
        """What is created in the block has a copy on each device.

        A device assigns to its own copies alone: as all make the same steps, the copies stay equal.
        """
        if self.strategy is None:
            yield
            return

        def local(create: Callable[..., tf.Variable], **kwargs: Any) -> tf.Variable:
            if not kwargs.get("trainable"):  # only trainable variables may not be of this kind; see `AdamW.apply`
                kwargs |= {
                    "trainable": False,
                    "synchronization": tf.VariableSynchronization.ON_READ,
                    "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
                }
            return create(**kwargs)

        with self.strategy.scope(), tf.variable_creator_scope(local):
            yield

    @tf.autograph.experimental.do_not_convert
    def run(self, function: Callable[[Any], tf.Tensor], batch: Any) -> tf.Tensor:
        """Call it on each device with what this process has of a batch; the answer, which is the same on each."""
        if self.strategy is None:
            return function(batch)
        return self.strategy.experimental_local_results(self.strategy.run(function, args=(batch,)))[0]

    def part_size(self, batch_size: int) -> int:
        """Paintings of a batch that one device sees. Raises `UserError` where not all can see as many."""
        if batch_size % self.count:
            near = max(1, round(batch_size / self.count)) * self.count
            raise UserError(
                f"a batch of {batch_size} cannot be divided among {self.count} devices: --batch-size {near} can"
            )
        return batch_size // self.count

    def local_places(self, batch_size: int, micro_batches: int) -> np.ndarray:
        """The places in a step's batch whose paintings this process sees: int64.

        A step has so many micro-batches, one after the other; of each, every device sees a part, in the devices' order.
        Raises `UserError` where not all devices can see as many paintings.
        """
        size = self.part_size(batch_size)
        places = np.arange(micro_batches * batch_size).reshape(micro_batches, self.count, size)
        return places[:, self.first : self.first + self.local_count].ravel()

    def number(self) -> tf.Tensor | int:
        """Of the device for which this is called, within `run`; from 0 to count - 1."""
        context = tf.distribute.get_replica_context()
        return 0 if self.strategy is None else context.replica_id_in_sync_group

    def summed(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """Within `run`: the sums over all devices of what each has."""
        if self.strategy is None:
            return values
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    def spread_seeds(self, model: keras.Model) -> None:
        """Give each device random numbers of its own, when all have those of the first: others drop out on each."""
        if self.strategy is None:
            return
        for variable in model.variables:
            if variable.name != "seed_generator_state":
                continue
            start = variable.numpy().astype(np.uint64)
            for i, copy in enumerate(self.strategy.experimental_local_results(variable.value)):
                mine = start + np.array([SPREAD * (self.first + i), 0], np.uint64)
                copy.assign((mine % 2**32).astype(variable.dtype))

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process; each has to ask, and waits until all have."""
        if self._sum is None:
            return flag
        return bool(self._sum_of([int(flag)])[0] > 0)

    def from_chief(self, content: bytes) -> bytes:
        """What the chief calls this with, in all processes; what the others give does not matter."""
        if self.cluster is None:
            return content
        high, low = map(int, self._sum_of(divmod(len(content), 2**30) if self.chief else (0, 0)))  # int32 is sent
        size = high * 2**30 + low
        words = np.zeros(-(-size // (4 * PIECE)) * PIECE, np.int32)
        if self.chief:
            words.view(np.uint8)[:size] = np.frombuffer(content, np.uint8)
        pieces = [self._sum_of(piece) for piece in words.reshape(-1, PIECE)]
        return np.concatenate([np.zeros(0, np.int32), *pieces]).tobytes()[:size]

    def computed_by_chief(self, function: Callable[[], Any]) -> Any:
        """What the function gives in the chief, in all processes; the others do not call it. JSON values only."""
        content = json.dumps(function()).encode() if self.chief else b""
        return json.loads(self.from_chief(content))

    def _sum_of(self, values: Sequence[int] | np.ndarray) -> np.ndarray:
        """Of int32 (n,) of all processes; for few different n, each of which makes a graph."""
        assert self._sum is not None
        return self._sum(tf.constant(values, tf.int32)).numpy()

    def _sum_of_processes(self, values: tf.Tensor) -> tf.Tensor:
        def of_device(mine: tf.Tensor) -> tf.Tensor:
            return self.summed([mine * tf.cast(tf.equal(self.number(), self.first), mine.dtype)])[0]

        return self.run(of_device, values)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """All processes are in the block, and leave it when all are at its end; those that follow print nothing.

        Raises `UserError` in the others when one dies.
        """
        if self.cluster is None:
            yield
            return
        try:
            if self.chief:
                yield
            else:
                print(f"worker {self.cluster.index} follows worker 0, which prints and writes", flush=True)
                with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
                    yield
            self.any(False)
        except tf.errors.OpError as error:
            gone = self.cluster.unreachable()
            if not gone and isinstance(error, tf.errors.ResourceExhaustedError):
                raise UserError(
                    "the memory of a device is full: a smaller --batch-size, or --accumulate, needs less"
                ) from error
            if not gone and isinstance(error, tf.errors.InvalidArgumentError | tf.errors.UnimplementedError):
                raise  # a fault of this program, not of a worker
            names = ", ".join(f"worker {i} ({self.cluster.addresses[i]})" for i in gone)
            reason = f"{names} {'are' if len(gone) > 1 else 'is'} gone" if gone else SILENT
            raise UserError(
                f"the training ended because {reason}: start all workers again with the same command, and it goes on "
                "from the last checkpoint"
            ) from error


@functools.cache
def connect(distribute: str = "none") -> Devices:
    """The devices that `--distribute` asks for; of several machines, when all are there.

    For "multiworker", and "auto" with a TF_CONFIG, this has to come before TensorFlow computes anything. Raises
    `UserError` where the devices are not there.
    """
    if distribute == "none":
        return Devices()
    if (cluster := cluster_asked_for(distribute)) is not None:
        others = ", ".join(a for i, a in enumerate(cluster.addresses) if i != cluster.index)
        print(f"worker {cluster.index} of {len(cluster.addresses)}: waiting for {others}", flush=True)
        cluster.meet()
        # A process that hangs keeps its socket: it is asked for a sign of life, each 10 s instead of 30, so that the
        # others end within a minute. TensorFlow has no public option for it.
        from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended as Extended

        Extended._check_health_interval, Extended._check_health_timeout = 10, 5
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except (tf.errors.OpError, RuntimeError) as error:
            raise UserError(f"the workers of TF_CONFIG do not come together ({str(error).splitlines()[0]})") from error
        return Devices(strategy, cluster)
    gpus = tf.config.list_logical_devices("GPU")
    if distribute == "auto" and len(gpus) < 2:
        return Devices()
    found = gpus if len(gpus) > 1 else tf.config.list_logical_devices("CPU")
    if len(found) < 2:
        raise UserError(f"--distribute mirrored needs two GPUs or more, and there {_are(len(gpus))}: leave it out")
    environment = os.environ.pop("TF_CONFIG", None)  # MirroredStrategy would read it, and be another strategy
    try:
        return Devices(tf.distribute.MirroredStrategy([device.name for device in found]))
    finally:
        if environment is not None:
            os.environ["TF_CONFIG"] = environment


def _are(count: int) -> str:
    return "is one" if count == 1 else "are none"


def check_same_everywhere(devices: Devices, key: str) -> None:
    """Raise `UserError` in all processes unless `key`, of data and settings, is the same in all."""
    other = devices.from_chief(key.encode()).decode() != key
    if devices.any(other):
        which = "this worker has" if other else "a worker has"
        raise UserError(
            f"{which} other paintings, labels, settings or GPUs than worker 0: start all with the same command and "
            "data, and with unlike GPUs name the --precision"
        )
