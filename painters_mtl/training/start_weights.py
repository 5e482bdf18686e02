"""What a backbone starts from: what stands behind --weights auto and --weights paintings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import counted, say
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.runs.model_choice import shipped_model
from painters_mtl.runs.network_files import NETWORK, WEIGHTS
from painters_mtl.runs.packaged import check_packaged, training_codes

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.data.dataset import Dataset
    from painters_mtl.training.settings import TrainSettings

AUTO, PAINTINGS, IMAGENET = "auto", "paintings", "imagenet"  # words behind --weights
S = TypeVar("S", bound=NetworkSettings)
T = TypeVar("T", bound="TrainSettings")


def seen_codes(settings: "TrainSettings") -> "np.ndarray | None":
    """The codes of the works that trained what the backbone may start from, for `dataset.prepare`: uint32 (n,).

    None where it does not start from the model that comes along, or that model keeps none.
    """
    folder = _shipped_start(settings)
    return None if folder is None else training_codes(folder)


def with_known_start(settings: T, data: "Dataset") -> T:
    """The settings with the word that --weights auto stands for; a line says which, and why not the other.

    It is paintings where no painting of the validation and test parts trained the model that comes along: from it,
    every collection that was measured is learned better (docs/experiments/own-painters.md).
    """
    folder = _shipped_start(settings)
    if folder is None or data.demo:
        return replace(settings, weights=IMAGENET) if settings.weights == AUTO else settings
    if data.seen is None:  # nothing is known of the works that trained it
        if settings.weights == PAINTINGS:
            say("note: --weights paintings was trained on works of WikiArt: test results on those works are too good")
        return replace(settings, weights=IMAGENET) if settings.weights == AUTO else settings
    measured = data.seen & ((data.split == "test") | (data.split == "validation"))
    those = f"{counted(int(measured.sum()), 'painting')} of the test and validation parts"
    if settings.weights == PAINTINGS:
        if measured.any():
            say(f"note: --weights paintings: {those} trained the model that comes along: test results are too good")
        return settings
    if measured.any():
        say(
            f"the backbone starts from ImageNet's weights: {those} trained the model that comes along "
            "(--weights paintings starts from it all the same)"
        )
        return replace(settings, weights=IMAGENET)
    say(
        "the backbone starts from the model that comes along, whose weights are for non-commercial use "
        "(--weights imagenet: from ImageNet's)"
    )
    return replace(settings, weights=PAINTINGS)


def _shipped_start(settings: "TrainSettings") -> Path | None:
    """The folder of the model that comes along, where the settings may start from its backbone; else None.

    Raises `UserError` where one of its files is damaged.
    """
    if settings.weights not in (AUTO, PAINTINGS) or (settings.weights == AUTO and settings.start_from):
        return None
    if (folder := shipped_model()) is None:
        return None
    check_packaged(folder)
    return folder if _same_name(_backbone_of(folder)) == _same_name(settings.backbone) else None


def with_weights_file(settings: S) -> S:
    """The settings with the file of weights in the place of the word paintings, and imagenet in that of auto.

    Raises `UserError` where no model comes along, its files are damaged, or its backbone is another.
    """
    if settings.weights == AUTO:
        return replace(settings, weights=IMAGENET)
    if settings.weights != PAINTINGS:
        return settings
    if (folder := shipped_model()) is None:
        raise UserError(
            "--weights paintings: no model comes along with this copy of painters-mtl: use --weights imagenet"
        )
    check_packaged(folder)
    backbone = _backbone_of(folder)
    if _same_name(backbone) != _same_name(settings.backbone):
        raise UserError(
            f"--weights paintings is the backbone of the model that comes along, {backbone}: leave --backbone "
            f"{settings.backbone} out, or use --weights imagenet"
        )
    return replace(settings, weights=str(folder / WEIGHTS))


def weights_file(settings: NetworkSettings) -> Path | None:
    """The file that the backbone starts from; None where it starts from ImageNet's weights or random ones."""
    file = Path(with_weights_file(settings).weights)
    return file if file.is_file() else None


def _backbone_of(folder: Path) -> str:
    return str(json.loads((folder / NETWORK).read_text(encoding="utf-8"))["settings"]["backbone"])


def _same_name(backbone: str) -> str:
    return backbone.lower().replace("_", "")
