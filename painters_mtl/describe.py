"""Draw a network and count its weights: what the tasks share, what each has for itself.

    painters-mtl describe --model models/full
    painters-mtl describe --shared-layers 512,256 --task-layers 128,64 --output network.png
    painters-mtl describe --task-layers 64 --shared-projection 64

With --model a trained network is described, else one that the options of `train` would build; no painting is read. The
diagram is Keras's `plot_model` where graphviz and pydot are installed, else a drawing of our own.
"""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from painters_mtl.common import command_line, lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import say
from painters_mtl.data.settings import DataSettings
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.reports.network_diagram import draw, layer_weights

if TYPE_CHECKING:
    import keras


@dataclass
class DescribeSettings(NetworkSettings, DataSettings):
    """What `painters-mtl describe` can be told: a trained model, or the options of a training."""

    model: Path | None = None
    """Run folder of a trained model, or paintings: the bundled model; without it, the network that the options
    below describe, with as many classes as asked for, whatever the data have."""
    output: Path = Path("network.png")
    """The picture to write: .png, .svg or .pdf."""


def describe(settings: DescribeSettings) -> int:
    """The verb: table to the terminal, diagram to a file."""
    command_line.check_output("--output", settings.output, (".png", ".svg", ".pdf"))
    lazy_imports.import_tensorflow()
    network = _network(settings)
    print(parameter_table(network))
    how = draw(network, settings.output)
    print(f"wrote {settings.output}, drawn by {how}")
    return 0


def _network(settings: DescribeSettings) -> "keras.Model":
    from painters_mtl.data.tasks import Task
    from painters_mtl.inference.open_network import open_network
    from painters_mtl.network.multitask import build_model
    from painters_mtl.runs.model_choice import open_named_run

    if settings.model is not None:
        run = open_named_run(settings.model)
        say(f"the network of {run.title}")
        return open_network(run)
    say("the network that train would build with these options; --model paintings: that of the bundled model")
    tasks = {}
    for name, classes in settings.requested_classes().items():
        if classes is None:
            raise UserError(f"describe sees no paintings: say how many classes {name} has, as in --classes {name}=12")
        names = tuple(map(str, range(classes))) if isinstance(classes, int) else classes
        tasks[name] = Task(name, names)
    if settings.weights in ("auto", "imagenet", "paintings"):  # what the backbone starts as is not drawn
        settings = dataclasses.replace(settings, weights="none")
    return build_model(tasks, settings, multi_scale=settings.ends_multi_scale())


def parameter_table(network: "keras.Model") -> str:
    """Every layer with weights: who uses it, its parameters; and their sums for the shared part and each task."""
    from painters_mtl.network.graph import heads_by_layer

    lines = [f"{'layer':<24}{'serves':<26}{'parameters':>12}"]
    sums: dict[str, int] = {}
    for name, tasks in heads_by_layer(network).items():
        if count := layer_weights(network, name)[0]:
            whose = "all" if len(tasks) == len(network.output) else ", ".join(tasks)
            side = "shared" if len(tasks) > 1 else f"{tasks[0]} only"
            sums[side] = sums.get(side, 0) + count
            lines.append(f"{name:<24}{whose:<26}{count:>12,}")
    lines.append("")
    lines += [f"{side:<50}{count:>12,}" for side, count in sums.items()]
    return "\n".join([*lines, f"{'one network for all':<50}{network.count_params():>12,}"])


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(DescribeSettings, describe, argv, "painters-mtl describe", __doc__)


if __name__ == "__main__":
    sys.exit(main())
