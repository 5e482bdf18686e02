"""Draw a network and count its weights: what the tasks share, what each has for itself.

    python -m painters_mtl.describe --model models/full
    python -m painters_mtl.describe --shared-layers 512,256 --task-layers 128,64 --output network.png
    python -m painters_mtl.describe --task-layers 64 --shared-projection 64

With --model a trained network is described, else one that the options of `train` would build; no painting is read. The
diagram is Keras's `plot_model` where graphviz and pydot are installed, else a drawing of our own.
"""

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.training.settings import TrainSettings

if TYPE_CHECKING:
    import keras


@dataclass
class DescribeSettings(TrainSettings):
    """What `python -m painters_mtl.describe` can be told: a trained model, or the options of a training."""

    model: Path | None = None
    """Run folder of a trained model; without it, the network that the options below describe, with as many classes as
    asked for, whatever the data have."""
    output: Path = Path("network.png")
    """The picture to write: .png, .svg or .pdf."""


def describe(settings: DescribeSettings) -> int:
    """The verb: table to the terminal, diagram to a file."""
    if settings.output.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise UserError(f"--output {settings.output} must end in .png, .svg or .pdf")
    if not settings.output.absolute().parent.is_dir():
        raise UserError(f"--output {settings.output}: there is no folder {settings.output.parent}")
    command_line.import_tensorflow()
    network = _network(settings)
    print(parameter_table(network))
    how = draw(network, settings.output)
    print(f"wrote {settings.output}, drawn by {how}")
    return 0


def _network(settings: DescribeSettings) -> "keras.Model":
    from painters_mtl.data.tasks import Task
    from painters_mtl.network.multitask import build_network
    from painters_mtl.runs.run import open_run

    if settings.model is not None:
        return open_run(settings.model).model()
    tasks = {}
    for name, wanted in settings.classes_wanted().items():
        classes = tuple(map(str, range(wanted))) if isinstance(wanted, int) else wanted
        tasks[name] = Task(name, classes)
    weights = "none" if settings.weights == "imagenet" else settings.weights  # what it starts as is not drawn
    return build_network(tasks, settings, weights, levels=settings.ends_with_levels())


def owners(network: "keras.Model") -> dict[str, tuple[str, ...]]:
    """Which heads each layer serves, in the order of the heads: {layer: tasks}."""
    import keras

    found: dict[str, tuple[str, ...]] = {}
    for task, output in network.output.items():
        for layer in keras.Model(network.input, output).operations:
            found[layer.name] = (*found.get(layer.name, ()), task)
    # An input that a slice of the features cuts off serves nobody.
    return {layer.name: found.get(layer.name, tuple(network.output)) for layer in network.operations}


def parameter_table(network: "keras.Model") -> str:
    """Every layer with weights: who uses it, its parameters; and their sums for the shared part and each task."""
    lines = [f"{'layer':<24}{'serves':<26}{'parameters':>12}"]
    sums: dict[str, int] = {}
    for name, tasks in owners(network).items():
        if count := _weights(network, name)[0]:
            whose = "all" if len(tasks) == len(network.output) else ", ".join(tasks)
            side = "shared" if len(tasks) > 1 else f"{tasks[0]} only"
            sums[side] = sums.get(side, 0) + count
            lines.append(f"{name:<24}{whose:<26}{count:>12,}")
    lines.append("")
    lines += [f"{side:<50}{count:>12,}" for side, count in sums.items()]
    return "\n".join([*lines, f"{'one network for all':<50}{network.count_params():>12,}"])


def draw(network: "keras.Model", file: Path) -> str:
    """Write the diagram; returns what drew it."""
    import keras

    if shutil.which("dot") and importlib.util.find_spec("pydot"):
        keras.utils.plot_model(network, file, show_shapes=True, show_layer_names=True)
        return "graphviz"
    import matplotlib

    matplotlib.use("Agg")
    diagram(network).savefig(file, dpi=120, bbox_inches="tight")
    return "matplotlib (graphviz is not installed)"


COLOURS = ("#c05a2b", "#2b7a4b", "#7a4b9e", "#8a6d1f")
SHARED = "#1f5fa8"


def diagram(network: "keras.Model") -> Any:
    """The layers as boxes, from the image on top to the heads, a column for each task; a matplotlib figure.

    Dropout is left out of the picture; an arrow goes past it.
    """
    import matplotlib.pyplot as plt

    tasks, serves = list(network.output), owners(network)
    parents = _parents(network)
    level: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in level:
            level[name] = max((depth(p) + 1 for p in parents[name]), default=0)
        return level[name]

    rows: dict[tuple[int, float], list[str]] = {}
    for name in parents:
        middle = sum(tasks.index(t) for t in serves[name]) / len(serves[name])
        rows.setdefault((depth(name), middle), []).append(name)
    spread = {  # boxes at the same place stand side by side
        name: middle + 0.9 * (k - (len(names) - 1) / 2)
        for (_, middle), names in rows.items()
        for k, name in enumerate(names)
    }
    figure, axis = plt.subplots(figsize=(2.9 * max(len(tasks), 1) + 0.6, 1.0 * (max(level.values()) + 1)))
    for name in parents:
        for parent in parents[name]:
            axis.annotate(
                "",
                (spread[name], -level[name] + 0.3),
                (spread[parent], -level[parent] - 0.3),
                arrowprops={"arrowstyle": "->", "color": "#888", "shrinkA": 0, "shrinkB": 0},
            )
    for name in parents:
        whose = serves[name]
        colour = SHARED if len(whose) > 1 or len(tasks) == 1 else COLOURS[tasks.index(whose[0]) % len(COLOURS)]
        text = f"{name}\n{_shape(network, name)}"
        count, trained = _weights(network, name)
        if count:
            text += f"\n{count:,} weights" + ("" if trained else ", frozen")
        axis.text(
            spread[name], -level[name], text, ha="center", va="center", fontsize=8, color="white",
            bbox={"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "none"},
        )  # fmt: skip
    axis.set_xlim(min(0, *spread.values()) - 0.6, max(len(tasks) - 1, *spread.values()) + 0.6)
    axis.set_ylim(-max(level.values()) - 0.6, 0.6)
    axis.set_axis_off()
    axis.set_title("blue: shared by the tasks; other colours: one task's own", fontsize=9)
    return figure


def _operation(network: "keras.Model", name: str) -> Any:
    return next(o for o in network.operations if o.name == name)


def _weights(network: "keras.Model", name: str) -> tuple[int, int]:
    """How many weights a layer has, and how many of them train; 0 for an operation that is no layer."""
    layer = _operation(network, name)
    if not hasattr(layer, "count_params"):
        return 0, 0
    return layer.count_params(), sum(int(v.value.shape.num_elements()) for v in layer.trainable_weights)


def _shape(network: "keras.Model", name: str) -> str:
    shape = _operation(network, name)._inbound_nodes[0].output_tensors[0].shape
    return " x ".join("any" if side is None else str(side) for side in shape[1:])


def _parents(network: "keras.Model") -> dict[str, list[str]]:
    """For each layer but dropout, the layers that feed it, dropout skipped: {name: names}."""
    fed: dict[str, list[str]] = {}
    inside = {layer.name for layer in network.operations}
    for layer in network.operations:
        fed[layer.name] = []
        for node in layer._inbound_nodes:  # one for each call of the layer
            for tensor in node.input_tensors:
                source = tensor._keras_history.operation.name
                if source in inside and source not in fed[layer.name]:
                    fed[layer.name].append(source)

    def past_dropout(name: str) -> list[str]:
        return [name] if "dropout" not in name else [n for p in fed[name] for n in past_dropout(p)]

    return {
        name: [n for s in sources for n in past_dropout(s)] for name, sources in fed.items() if "dropout" not in name
    }


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(DescribeSettings, describe, argv, "painters-mtl describe", __doc__)


if __name__ == "__main__":
    sys.exit(main())
