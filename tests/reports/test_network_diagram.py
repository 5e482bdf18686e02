"""The diagram of a network: which layers feed and serve which, and where their boxes stand."""

from helpers import small_network

from painters_mtl.data.tasks import Task
from painters_mtl.network.multitask import with_known_head
from painters_mtl.reports import network_diagram

TASKS = {"painter": Task("painter", ("a", "b")), "style": Task("style", ("c", "d", "e"))}


def test_the_drawing_joins_what_feeds_what_and_skips_dropout() -> None:
    network = small_network(TASKS, shared_layers=(7,), task_layers=(5,), shared_projection=4)
    assert network_diagram.layer_inputs(network) == {
        "image": [], "small_convnet": ["image"], "features": ["small_convnet"], "shared_0": ["features"],
        "painter_0": ["shared_0"], "style_0": ["shared_0"], "projection": ["painter_0", "style_0"],
        "painter": ["projection"], "style": ["projection"],
    }  # fmt: skip


def test_each_box_has_its_own_place_and_its_text() -> None:
    network = small_network(TASKS, shared_layers=(7,), task_layers=(5,))
    figure = network_diagram.diagram(network)
    boxes = {text.get_text().split("\n")[0]: text for text in figure.axes[0].texts if text.get_text()}
    assert set(boxes) == set(network_diagram.layer_inputs(network))
    assert len({text.get_position() for text in boxes.values()}) == len(boxes)
    weights = network.get_layer("style").count_params()
    assert boxes["style"].get_text() == f"style\n3\n{weights:,} weights"
    assert boxes["painter"].get_position()[0] == 0 and boxes["style"].get_position()[0] == 1


def test_a_known_class_head_has_the_colour_of_its_task() -> None:
    network = with_known_head(small_network(TASKS), Task("style_known", ("another", "known")), 9)
    figure = network_diagram.diagram(network)
    boxes = {text.get_text().split("\n")[0]: text for text in figure.axes[0].texts if text.get_text()}
    colours = {name: box.get_bbox_patch().get_facecolor() for name, box in boxes.items()}
    assert colours["style_known"] == colours["style"] != colours["painter"]
    assert colours["features"] not in (colours["style"], colours["painter"])
