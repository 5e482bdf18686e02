"""Several GPUs of a machine, or several machines, train one network: `--distribute`.

Every device has a copy of the weights and sees its part of each batch. Losses and gradients of the parts are added up
over all devices before they are used. So each device knows what a single device would know that sees the whole batch,
and all make the same step. TensorFlow's strategies hold the copies and do the sums: MirroredStrategy for the devices of
one process, MultiWorkerMirroredStrategy for a process on each machine. Keras's `fit` cannot work under the latter
(keras-team/keras #20585); nothing here is Keras's but layers and variables.
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

from painters_mtl.common.errors import UserError, first_line
from painters_mtl.common.messages import say
from painters_mtl.training.tf_config import Cluster, cluster_asked_for

SEED_STEP = 0x9E3779B9  # between the seeds of two devices: 2^32 over the golden ratio
PIECE = 2**16  # numbers that are sent at a time
MEMORY_FULL = "the memory of a device is full: a smaller --batch-size, or --accumulate, needs less"
NO_ANSWER = "a worker does not answer (what the others print tells why)"
ENDING_SECONDS = 10.0  # a process that dies may have its port still after its connections are closed
HEALTH_CHECK_SECONDS, HEALTH_CHECK_TIMEOUT = 10, 5  # TensorFlow's own are 30 and 10


class Devices:
    """The devices that train, seen from this process. Without a strategy there is one, and the methods do nothing."""

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
        """Whether this process is the one that measures, prints and writes; the others follow."""
        self._sum = None if cluster is None else tf.function(self._sum_of_processes)

    @contextlib.contextmanager
    def variables(self) -> Iterator[None]:
        """Variables that are created in the block have a copy on each device.

        A device assigns to its own copies alone. As all devices make the same steps, the copies stay equal.
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
        """The result of a function that is called on each device; it has to be the same on each.

        Args:
            batch: what this process has of a batch; each device is given all of it.
        """
        if self.strategy is None:
            return function(batch)
        return self.strategy.experimental_local_results(self.strategy.run(function, args=(batch,)))[0]

    def part_size(self, batch_size: int) -> int:
        """How many paintings of a batch one device sees. Raises `UserError` where not all can see as many."""
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
        """The number of the device for which this is called, within `run`; from 0 to count - 1."""
        context = tf.distribute.get_replica_context()
        return 0 if self.strategy is None else context.replica_id_in_sync_group

    def summed(self, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """The sums of each tensor over all devices; called within `run`, by all devices."""
        if self.strategy is None:
            return values
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)

    def spread_seeds(self, model: keras.Model) -> None:
        """Give each device random numbers of its own, so that dropout leaves out other units on each.

        Call it when all devices have the seeds of the first one, as a new network has.
        """
        if self.strategy is None:
            return
        for variable in model.variables:
            if variable.name != "seed_generator_state":
                continue
            start = variable.numpy().astype(np.uint64)
            for i, copy in enumerate(self.strategy.experimental_local_results(variable.value)):
                seed = start + np.array([SEED_STEP * (self.first + i), 0], np.uint64)
                copy.assign((seed % 2**32).astype(variable.dtype))

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process. Every process has to call this, and waits until all have."""
        if self._sum is None:
            return flag
        return bool(self._sum_of([int(flag)])[0] > 0)

    def from_chief(self, content: bytes) -> bytes:
        """The content that the chief calls this with, in all processes; what the others give does not matter."""
        if self.cluster is None:
            return content
        high, low = map(int, self._sum_of(divmod(len(content), 2**30) if self.chief else (0, 0)))  # int32 is sent
        size = high * 2**30 + low
        padded = np.zeros(-(-size // (4 * PIECE)) * PIECE, np.int32)
        if self.chief:
            padded.view(np.uint8)[:size] = np.frombuffer(content, np.uint8)
        pieces = [self._sum_of(piece) for piece in padded.reshape(-1, PIECE)]
        return np.concatenate([np.zeros(0, np.int32), *pieces]).tobytes()[:size]

    def computed_by_chief(self, function: Callable[[], Any]) -> Any:
        """The result of a function that only the chief calls, in all processes. For JSON values only."""
        content = json.dumps(function()).encode() if self.chief else b""
        return json.loads(self.from_chief(content))

    def _sum_of(self, values: Sequence[int] | np.ndarray) -> np.ndarray:
        """The sum of int32 (n,) over all processes. Each other n makes a graph: call it with few."""
        assert self._sum is not None
        return self._sum(tf.constant(values, tf.int32)).numpy()

    def _sum_of_processes(self, values: tf.Tensor) -> tf.Tensor:
        def of_device(local: tf.Tensor) -> tf.Tensor:
            return self.summed([local * tf.cast(tf.equal(self.number(), self.first), local.dtype)])[0]

        return self.run(of_device, values)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A block that all processes run together, and leave when all are at its end. Those that follow print nothing.

        Raises `UserError` in the others when one process dies or hangs.
        """
        if self.cluster is None:
            try:
                yield
            except tf.errors.ResourceExhaustedError as error:
                raise UserError(MEMORY_FULL) from error
            return
        try:
            if self.chief:
                yield
            else:
                say(f"worker {self.cluster.index} follows worker 0, which prints and writes")
                with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
                    yield
            self.any(False)
        except tf.errors.OpError as error:
            full = isinstance(error, tf.errors.ResourceExhaustedError)
            own_fault = isinstance(error, tf.errors.InvalidArgumentError | tf.errors.UnimplementedError)
            gone = self.cluster.unreachable(0 if full or own_fault else ENDING_SECONDS)
            if not gone and full:
                raise UserError(MEMORY_FULL) from error
            if not gone and own_fault:
                raise  # a fault of this program, not of a worker
            names = ", ".join(f"worker {i} ({self.cluster.addresses[i]})" for i in gone)
            reason = f"{names} {'are' if len(gone) > 1 else 'is'} gone" if gone else NO_ANSWER
            raise UserError(
                f"the training ended because {reason}: start all workers again with the same command, and it goes on "
                "from the last checkpoint"
            ) from error


@functools.cache
def connect(distribute: str = "none") -> Devices:
    """The devices that `--distribute` asks for; with several machines, this waits until all have come.

    For "multiworker", and "auto" with a TF_CONFIG, it has to be called before TensorFlow computes anything. Raises
    `UserError` where the devices are not there.
    """
    if distribute == "none":
        return Devices()
    if (cluster := cluster_asked_for(distribute)) is not None:
        others = ", ".join(a for i, a in enumerate(cluster.addresses) if i != cluster.index)
        say(f"worker {cluster.index} of {len(cluster.addresses)}: waiting for {others}")
        cluster.meet()
        # A process that hangs keeps its socket open. It is asked for a sign of life more often than TensorFlow does, so
        # that the others end within a minute. TensorFlow has no public option for that.
        from tensorflow.python.distribute.collective_all_reduce_strategy import CollectiveAllReduceExtended as Extended

        Extended._check_health_interval = HEALTH_CHECK_SECONDS
        Extended._check_health_timeout = HEALTH_CHECK_TIMEOUT
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy()
        except (tf.errors.OpError, RuntimeError) as error:
            raise UserError(f"the workers of TF_CONFIG do not come together ({first_line(error)})") from error
        return Devices(strategy, cluster)
    gpus = tf.config.list_logical_devices("GPU")
    if distribute == "auto" and len(gpus) < 2:
        return Devices()
    devices = gpus if len(gpus) > 1 else tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        count = "is one" if len(gpus) == 1 else "are none"
        raise UserError(f"--distribute mirrored needs two GPUs or more, and there {count}: leave it out")
    environment = os.environ.pop("TF_CONFIG", None)  # MirroredStrategy would read it, and be another strategy
    try:
        return Devices(tf.distribute.MirroredStrategy([device.name for device in devices]))
    finally:
        if environment is not None:
            os.environ["TF_CONFIG"] = environment


def check_same_everywhere(devices: Devices, key: str) -> None:
    """Raise `UserError` in all processes unless `key`, of data and settings, is the same in all."""
    differs = devices.from_chief(key.encode()).decode() != key
    if devices.any(differs):
        which = "this worker has" if differs else "a worker has"
        raise UserError(
            f"{which} other paintings, labels, settings or GPUs than worker 0: start all with the same command and "
            "data, and with unlike GPUs name the --precision"
        )
