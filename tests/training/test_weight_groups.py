"""Trainable weights, told apart by the heads that use them."""

import keras
from helpers import small_network

from painters_mtl.data.tasks import Task
from painters_mtl.training.weight_groups import group_weights

TASKS = {name: Task(name, tuple("abc")) for name in ("painter", "style", "genre")}


HEADS = {name: [name] for name in TASKS}


def network(shared: tuple[int, ...] = (6,), seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return small_network(TASKS, shared_layers=shared, task_layers=(5,), fine_tune="all", dropout=0.0)


def test_parts_are_told_apart_by_who_uses_them() -> None:
    model = network()
    groups = group_weights(model, HEADS)
    for name in TASKS:
        assert {v.path.split("/")[0] for v in groups.branches[name]} == {name, f"{name}_0"}
    assert {"shared_0", "conv1"} <= {part for v in groups.shared for part in v.path.split("/")}
    assert len(groups.shared) + 3 * 4 == len(model.trainable_variables)


def test_a_network_for_one_task_has_a_branch_of_its_own() -> None:
    model = small_network({"style": TASKS["style"]}, shared_layers=(6,), task_layers=(5,), fine_tune="all")
    groups = group_weights(model, {"style": ["style"]})
    assert {v.path.split("/")[0] for v in groups.branches["style"]} == {"style", "style_0"} and len(groups.shared) > 4
