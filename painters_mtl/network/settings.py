"""The settings that say how a network is built."""

from dataclasses import dataclass, field
from typing import Literal

from painters_mtl.common.errors import UserError
from painters_mtl.common.settings import BELOW_1, NOT_NEGATIVE
from painters_mtl.data.settings import InputSettings


@dataclass
class NetworkSettings(InputSettings):
    """All that `build_model` needs to know beside the tasks."""

    backbone: str = "efficientnet_lite0"
    """efficientnet_lite0 (its ImageNet weights come with pip), small_convnet, or any network of keras.applications."""
    weights: str = "auto"
    """What the backbone starts from: imagenet, none (random weights), paintings (the backbone of the
    bundled model, which was trained on WikiArt's paintings), or a weights file, such as the weights.npz of a run. auto:
    paintings, where no painting of the test and validation parts looks like a work that trained it, or such works are
    few and may all be in train; else imagenet."""
    fine_tune: Literal["heads", "top", "all"] = "top"
    """What trains: heads (the backbone is frozen), top (the upper half of the backbone too), or all."""
    shared_layers: tuple[int, ...] = ()
    """Widths of hidden layers behind the backbone that all tasks share: 512,256."""
    task_layers: tuple[int, ...] = ()
    """Widths of hidden layers that each task has for itself."""
    shared_projection: int = 0
    """Width of one hidden layer that every task's branch passes through, with the same weights, before its head; 0: no
    such layer."""
    merge: Literal["concatenate", "none"] = "concatenate"
    """With two views: concatenate (every head sees both), or none (every head sees one, see --view-of, and only the
    weights are shared)."""
    view_of: dict[str, str] = field(default_factory=dict)
    """With --merge none, the view of a task: painter=detail; a task that is not named sees the whole painting."""
    dropout: float = 0.2
    """Dropout rate, before each hidden layer and each head."""
    refit: bool = True
    """At the end, fit each head again as a linear probe on whole paintings, and keep it as far as it is better in
    validation. It then reads the backbone's pyramid maps too, unless there are hidden layers or two views: it is fitted
    to these, then to all maps with a penalty. Not where only the heads train."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything is read. Raises `UserError` that names the option."""
        super().__post_init__()
        self.check_values(shared_projection=NOT_NEGATIVE, dropout=BELOW_1)
        for width in (*self.shared_layers, *self.task_layers):
            if width < 1:
                raise UserError(f"a hidden layer of width {width} cannot be built: widths start at 1")
        for task, view in self.view_of.items():
            if view not in self.views:
                raise UserError(f"--view-of {task} {view}: a task (painter, style, genre) and one of the --views")
        if self.merge == "none" and len(self.views) == 1:
            raise UserError("--merge none needs two views to keep apart: add --views whole,detail")
        if self.view_of and self.merge != "none":
            raise UserError("--view-of needs --merge none: with concatenate every head sees both views")

    def starts_pretrained(self) -> bool:
        """Whether the backbone starts from what it learned elsewhere, on ImageNet or as a weights file has it."""
        if self.backbone == "small_convnet" and self.weights in ("auto", "imagenet", "paintings"):
            return False  # nobody trained it
        return self.weights not in (None, "none", "None", "")

    def trains_shared_weights(self) -> bool:
        """Whether weights that several tasks share train: with a frozen backbone and heads alone, none do."""
        return self.fine_tune != "heads" or bool(self.shared_layers) or self.shared_projection > 0

    def plain_heads(self) -> bool:
        """Whether nothing but dropout is between the backbone's features, of one view, and the heads."""
        return len(self.views) == 1 and not (self.shared_layers or self.task_layers or self.shared_projection)

    def refits_heads(self) -> bool:
        """Whether the heads are fitted again at the end of a training: not where they alone train."""
        return self.refit and self.fine_tune != "heads"

    def ends_multi_scale(self) -> bool:
        """Whether the heads read the pyramid maps of the backbone at the end: where they are fitted again to them."""
        return self.refits_heads() and self.plain_heads()


def backbone_key(name: str) -> str:
    """The name of a backbone as names are compared: EfficientNetB0, efficientnet_b0 and efficientnetb0 are one."""
    return name.lower().replace("_", "")
