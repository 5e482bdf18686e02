"""What one training is given to train; apart from the loop, because the training set is made from it too."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np


@dataclass(frozen=True)
class Assignment:
    """A network and what it has to learn."""

    full: keras.Model
    """The network with all heads that train, those too that only help the training."""
    network: keras.Model
    """The same layers, with the heads of the tasks alone: what is measured and kept."""
    labels: Mapping[str, np.ndarray]
    """{head: int32 (paintings,)}, -1 for "no label"."""
    loss_weights: Mapping[str, float]
    """Of each head."""
    soft_targets: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The teachers' probabilities for the training paintings: {head: float32 (n, classes)}."""

    @property
    def heads_of_task(self) -> dict[str, list[str]]:
        """{task: names of its heads}. What helps the painter task is a second head of it: a strategy sees one loss."""
        heads = {head: [head] for head in self.labels if head in self.network.output}
        if "painter" in heads:
            heads["painter"] += [head for head in self.labels if head not in heads]
        return heads
