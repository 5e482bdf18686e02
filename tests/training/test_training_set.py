"""What a training is shown: the paintings that can teach a head whose loss counts."""

import numpy as np
import pytest
from helpers import small_network
from made_results import collection

from painters_mtl.training.devices import Devices
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.training_set import TrainingSet, TrainingTarget

CLASSES = {"painter": ("North", "South"), "style": ("a", "b", "c"), "genre": ("x", "y")}


@pytest.mark.parametrize("taught", [(), ("style",), ("painter",)])
def test_a_painting_that_teaches_only_heads_of_weight_0_is_not_shown(taught: tuple[str, ...]) -> None:
    data = collection(CLASSES)
    network = small_network(data.tasks)
    soft = {name: np.zeros((len(data.table), len(CLASSES[name])), np.float32) for name in taught}
    weights = {"painter": 1.0, "style": 0.0, "genre": 0.0}
    found = TrainingSet(data, TrainingTarget(network, network, data.labels, weights, soft), TrainSettings(), Devices())
    train = data.rows("train")
    expected = train if "painter" in taught else train[data.labels["painter"][train] >= 0]
    assert found.rows.tolist() == expected.tolist()
    assert (len(expected) < len(train)) is ("painter" not in taught)
