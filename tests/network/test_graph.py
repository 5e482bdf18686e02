"""The graph of a network: its named tensors, and who uses and who owns a layer."""

import keras
import numpy as np
import pytest
from helpers import small_network

from painters_mtl.data.tasks import ALL_PAINTERS, Task
from painters_mtl.network.graph import FEATURES, TRUNK, heads_by_layer, layer_owners, named_tensors
from painters_mtl.network.multitask import heads_model, with_known_head

TASKS = {"painter": Task("painter", ("a", "b")), "style": Task("style", ("c", "d", "e"))}
EVERY = TASKS | {ALL_PAINTERS: Task(ALL_PAINTERS, tuple("abcd"))}
GROUPS = {"painter": ["painter", ALL_PAINTERS], "style": ["style"]}
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def test_a_layer_serves_the_tasks_whose_heads_it_feeds() -> None:
    network = small_network(TASKS, shared_layers=(7,), task_layers=(5,), shared_projection=4)
    serves = heads_by_layer(network)
    assert serves["projection"] == serves["shared_0"] == ("painter", "style") and serves["style_0"] == ("style",)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shared_layers": (7, 6), "task_layers": (5,), "shared_projection": 4},
        {"views": ("whole", "detail"), "shared_layers": (7,)},
        {"views": ("whole", "detail"), "merge": "none", "view_of": {"painter": "detail"}, "shared_layers": (7,)},
        {"multi_scale": True},
    ],
    ids=str,
)
def test_what_a_layer_serves_is_what_keras_has_in_the_model_of_that_head(settings: dict) -> None:
    network = small_network(EVERY, **settings)
    for head, output in network.output.items():
        inside = {operation.name for operation in keras.Model(network.input, output).operations}
        # Keras counts every input as a part of the model, whether it is read or not.
        serving = {name for name, heads in heads_by_layer(network).items() if head in heads}
        assert serving - {"image", "detail"} == inside - {"image", "detail"}


def test_a_layer_belongs_to_the_only_task_that_it_serves() -> None:
    network = small_network(EVERY, shared_layers=(7,), task_layers=(5,), shared_projection=4)
    owners = layer_owners(network, GROUPS)
    own = {"painter_0": "painter", "painter": "painter", "style_0": "style", "style": "style"}
    own |= {f"{ALL_PAINTERS}_0": ALL_PAINTERS, ALL_PAINTERS: ALL_PAINTERS}
    assert {name: owners[name] for name in own} == own
    assert {owners[name] for name in ("small_convnet", FEATURES, "shared_0", "projection")} == {""}


def test_names_that_begin_alike_do_not_mix_up_the_owners() -> None:
    tasks = {name: Task(name, ("a", "b")) for name in ("school", "school_year")}
    owners = layer_owners(small_network(tasks, task_layers=(5,)))
    assert owners["school_0"] == owners["school"] == "school"
    assert owners["school_year_0"] == owners["school_year"] == owners["school_year_dropout"] == "school_year"


@pytest.mark.parametrize("helped", [False, True])
def test_of_a_network_for_one_task_the_branch_is_its_own_and_the_rest_would_be_shared(helped: bool) -> None:
    """Also with the head over all painters beside the painters' head."""
    names = ["painter", ALL_PAINTERS] if helped else ["painter"]
    network = small_network({name: EVERY[name] for name in names}, shared_layers=(7,), task_layers=(5,))
    owners = layer_owners(network, {"painter": names})
    for name in names:
        assert owners[name] == owners[f"{name}_0"] == owners[f"{name}_0_dropout"] == name
    assert {owners[name] for name in ("small_convnet", FEATURES, "shared_0", "shared_0_dropout")} == {""}


@pytest.mark.parametrize(
    ("settings", "trunk", "read"),
    [
        ({}, FEATURES, FEATURES),
        ({"shared_layers": (7, 6)}, "shared_1", "shared_1"),
        ({"shared_layers": (7,), "task_layers": (5, 4)}, "shared_0", "style_1"),
        ({"task_layers": (5,), "shared_projection": 3}, FEATURES, "projection"),
        ({"shared_layers": tuple(range(3, 15))}, "shared_11", "shared_11"),  # and not shared_9
        ({"multi_scale": True}, FEATURES, FEATURES),
    ],
    ids=str,
)
def test_named_tensors_are_what_their_layers_put_out(settings: dict, trunk: str, read: str) -> None:
    network = small_network(TASKS, **settings)
    tensors = named_tensors(network)
    assert list(tensors) == [FEATURES, TRUNK, "painter_features", "painter", "style_features", "style"]
    values = keras.Model(network.input, tensors)(IMAGES, training=False)
    assert tensors[TRUNK]._keras_history.operation.name == trunk
    assert tensors["style_features"]._keras_history.operation.name == read
    kernel, bias = network.get_layer("style").get_weights()
    logits = np.asarray(values["style_features"]) @ kernel + bias
    likely = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(values["style"], likely, rtol=1e-4)
    heads = heads_model(network)(values[FEATURES], training=False)
    np.testing.assert_allclose(heads["style"], values["style"], rtol=1e-5)


def test_the_parts_of_a_network_have_the_same_names() -> None:
    """A model of the heads alone begins at the features; a shared layer behind each of two views is no trunk."""
    network = small_network(TASKS, shared_layers=(7,))
    heads = heads_model(network)
    tensors = named_tensors(heads)
    assert tensors[FEATURES] is heads.input and tensors[TRUNK].shape == (None, 7)
    two = {"views": ("whole", "detail"), "merge": "none", "view_of": {"style": "detail"}}
    views = small_network(TASKS, shared_layers=(7,), **two)
    assert named_tensors(views)[TRUNK] is named_tensors(views)[FEATURES]


def test_the_known_painter_head_reads_the_features_through_a_layer_of_its_own() -> None:
    network = small_network(TASKS, shared_layers=(7,))
    more = with_known_head(network, Task("painter_known", ("another", "known")), 9, painters=5)
    assert more.output["painter_known"].shape == (None, 2)
    assert named_tensors(more)["painter_known_features"].shape == (None, 10)
    for layer in ("painter_known_0", "painter_known_painters", "painter_known_largest"):
        assert layer_owners(more)[layer] == "painter_known"
    for name, values in network(IMAGES, training=False).items():
        np.testing.assert_array_equal(more(IMAGES, training=False)[name], values)
