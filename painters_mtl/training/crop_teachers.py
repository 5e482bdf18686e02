"""Teachers that answer for the very crops that the network is shown, at each step of its training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from painters_mtl.network.backbones import least_side
from painters_mtl.network.batchnorm_folding import fold_batchnorm
from painters_mtl.network.multitask import backbone_of


@dataclass(frozen=True)
class CropTeachers:
    """Networks whose answers are asked for at each step, with the crops that the network in training is shown.

    A training painting as a whole was seen by a teacher that learned from it: the teacher's answer is surer than it
    would be for another painting. A crop, with another painting mixed into it, is new to the teacher each time (Beyer
    et al. 2022, Knowledge distillation: a good teacher is patient and consistent, arXiv 2106.05237).
    """

    networks: tuple[keras.Model, ...]
    of_heads: Mapping[str, Sequence[int]]
    """The numbers of the networks that teach each head: {head: numbers}. The mean of their answers counts."""

    @classmethod
    def of(cls, networks: Sequence[keras.Model], heads: Sequence[str]) -> "CropTeachers":
        """From trained networks, each of which teaches those of `heads` that it has."""
        having = {head: [i for i, network in enumerate(networks) if head in network.output] for head in heads}
        folded = tuple(fold_batchnorm(network, inference=True) for network in networks)
        return cls(folded, {head: numbers for head, numbers in having.items() if numbers})

    def least_side(self, image_size: int) -> int:
        """The smallest side of a crop of which something is left in each teacher's last map."""
        return max(least_side(backbone_of(network), image_size) for network in self.networks)

    def soft_targets(self, images: Any, temperature: float) -> dict[str, tf.Tensor]:
        """The softened probabilities of each head that is taught, {head: float32 (n, classes)}; no gradient.

        Args:
            images: what the network in training reads, see `Batch.images`.
        """
        outputs = [network(images, training=False) for network in self.networks]
        answers = {}
        for head, numbers in self.of_heads.items():
            mean = tf.add_n([tf.cast(outputs[i][head], tf.float32) for i in numbers]) / len(numbers)
            answers[head] = tf.stop_gradient(tf.nn.softmax(tf.math.log(mean + 1e-12) / temperature))
        return answers
