"""A diagram of a network: its layers as boxes, in one colour what the tasks share, in others what each task owns."""

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common.figure_style import figure_style
from painters_mtl.data.tasks import known_output

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

TASK_COLOURS = ("#c05a2b", "#2b7a4b", "#7a4b9e", "#8a6d1f")
SHARED_COLOUR = "#1f5fa8"
COLUMN_INCHES = 2.9
BESIDE = 0.9  # distance of boxes that would stand at the same place, in columns


def draw(network: "keras.Model", file: Path) -> str:
    """Write the diagram to a .png, .svg or .pdf file; returns the name of what drew it."""
    import keras

    if shutil.which("dot") and importlib.util.find_spec("pydot"):
        keras.utils.plot_model(network, file, show_shapes=True, show_layer_names=True)
        return "graphviz"
    with figure_style():
        diagram(network).savefig(file, dpi=120, bbox_inches="tight")
    return "matplotlib (graphviz is not installed)"


def layer_weights(network: "keras.Model", name: str) -> tuple[int, int]:
    """The number of weights of a layer, and of those that train; both 0 for an operation that is no layer."""
    layer = _operation(network, name)
    if not hasattr(layer, "count_params"):
        return 0, 0
    return layer.count_params(), sum(int(v.value.shape.num_elements()) for v in layer.trainable_weights)


def layer_inputs(network: "keras.Model") -> dict[str, list[str]]:
    """The layers that feed each layer, {name: names}; dropout is left out, what feeds it stands in its place."""
    import keras

    feeds: dict[str, list[str]] = {}
    names = {layer.name for layer in network.operations}
    dropouts = {layer.name for layer in network.operations if isinstance(layer, keras.layers.Dropout)}
    for layer in network.operations:
        feeds[layer.name] = []
        for node in layer._inbound_nodes:  # one for each call of the layer
            for tensor in node.input_tensors:
                source = tensor._keras_history.operation.name
                if source in names and source not in feeds[layer.name]:
                    feeds[layer.name].append(source)

    def past_dropout(name: str) -> list[str]:
        return [source for fed_by in feeds[name] for source in past_dropout(fed_by)] if name in dropouts else [name]

    return {
        name: [layer for source in sources for layer in past_dropout(source)]
        for name, sources in feeds.items()
        if name not in dropouts
    }


def diagram(network: "keras.Model", title: str = "") -> "Figure":
    """A figure of the layers as boxes: the image on top, the heads at the bottom, a column for each task."""
    from painters_mtl.network.graph import heads_by_layer

    tasks, tasks_of, inputs = list(network.output), heads_by_layer(network), layer_inputs(network)
    places = _places(tasks, tasks_of, inputs)
    lines = 1 + max(-y for _, y in places.values())
    with figure_style() as Figure:
        figure = Figure(figsize=(COLUMN_INCHES * len(tasks) + 0.6, lines))
        axis = figure.subplots()
    for name, (x, y) in places.items():
        for source in inputs[name]:
            start = places[source]
            arrow = {"arrowstyle": "->", "color": "#888", "shrinkA": 0, "shrinkB": 0}
            axis.annotate("", (x, y + 0.3), (start[0], start[1] - 0.3), arrowprops=arrow)
    own_colours = dict(zip(dict.fromkeys(_task_of(head, tasks) for head in tasks), cycle(TASK_COLOURS), strict=False))
    for name, (x, y) in places.items():
        owners = {_task_of(head, tasks) for head in tasks_of[name]}
        colour = own_colours[owners.pop()] if len(owners) == 1 < len(own_colours) else SHARED_COLOUR
        box = {"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "none"}
        axis.text(x, y, _label(network, name), ha="center", va="center", fontsize=8, color="white", bbox=box)
    columns = [x for x, _ in places.values()]
    axis.set_xlim(min(0, *columns) - 0.6, max(len(tasks) - 1, *columns) + 0.6)
    axis.set_ylim(-lines + 0.4, 0.6)
    axis.set_axis_off()
    colours = "blue: shared by the tasks; other colours: one task's own"
    axis.set_title(f"{title}\n{colours}" if title else colours, fontsize=9)
    return figure


def _task_of(head: str, heads: Sequence[str]) -> str:
    """The task that a head serves: a known-class head, "style_known", that of the head beside it, "style"."""
    task = head.removesuffix(known_output(""))
    return task if task in heads else head


def _places(
    tasks: Sequence[str], tasks_of: Mapping[str, Sequence[str]], inputs: Mapping[str, Sequence[str]]
) -> dict[str, tuple[float, float]]:
    """Where the box of each layer stands: (column, minus its distance from the input); task k has the column k."""
    depths: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in depths:
            depths[name] = max((depth(source) + 1 for source in inputs[name]), default=0)
        return depths[name]

    rows: dict[tuple[int, float], list[str]] = {}
    for name in inputs:
        column = sum(tasks.index(task) for task in tasks_of[name]) / len(tasks_of[name])
        rows.setdefault((depth(name), column), []).append(name)
    return {
        name: (column + BESIDE * (k - (len(names) - 1) / 2), -depth)
        for (depth, column), names in rows.items()
        for k, name in enumerate(names)
    }


def _label(network: "keras.Model", name: str) -> str:
    """What a box says: the layer's name, the shape that it puts out, its weights."""
    shape = _operation(network, name)._inbound_nodes[0].output_tensors[0].shape
    text = f"{name}\n" + " x ".join("any" if side is None else str(side) for side in shape[1:])
    count, trained = layer_weights(network, name)
    return text + (f"\n{count:,} weights" + ("" if trained else ", frozen") if count else "")


def _operation(network: "keras.Model", name: str) -> Any:
    return next(o for o in network.operations if o.name == name)
