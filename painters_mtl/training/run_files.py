"""What a training writes into its run folder while it goes on; processes that follow the chief write nothing."""

from collections.abc import Callable

import keras

from painters_mtl.inference.open_network import save_network
from painters_mtl.training import checkpoint
from painters_mtl.training.checkpoint import Checkpoint
from painters_mtl.training.monitoring import HistoryFile, Observer, TensorBoardLog
from painters_mtl.training.run_spec import RunSpec


class RunFiles:
    """The run folder of the one process that writes."""

    def __init__(self, spec: RunSpec, key: str) -> None:
        """Args:
        key: the fingerprint of the training, which its checkpoint must have.
        """
        self.folder, self.settings, self.keep_model, self.key = spec.folder, spec.settings, spec.keep_model, key

    def observers(self) -> list[Observer]:
        """Those that write after each epoch."""
        return [HistoryFile(self.folder), *([TensorBoardLog(self.folder)] if self.keep_model else [])]

    def save_network(self, network: keras.Model) -> None:
        """Write the best network so far: from now on the folder can predict, whatever happens."""
        if self.keep_model:
            save_network(network, self.settings, self.folder)

    def save_checkpoint(self, state: Callable[[], Checkpoint]) -> None:
        """Write the state that the function gives, whole."""
        checkpoint.save(self.folder, self.key, state())


class NoRunFiles(RunFiles):
    """Those of a process that follows: none."""

    def observers(self) -> list[Observer]:
        """None."""
        return []

    def save_network(self, network: keras.Model) -> None:
        """Nothing: the chief has the same network."""

    def save_checkpoint(self, state: Callable[[], Checkpoint]) -> None:
        """Nothing: the chief's is sent to all when they go on."""
