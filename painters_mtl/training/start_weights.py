"""What stands behind --weights paintings: the backbone of the model that comes along."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from painters_mtl.common.errors import UserError
from painters_mtl.network.settings import NetworkSettings
from painters_mtl.runs.model_choice import shipped_model
from painters_mtl.runs.network_files import NETWORK, WEIGHTS
from painters_mtl.runs.packaged import check_packaged

PAINTINGS = "paintings"  # the word behind --weights
S = TypeVar("S", bound=NetworkSettings)


def with_weights_file(settings: S) -> S:
    """The settings with the file of weights in the place of the word paintings; else as they are.

    Raises `UserError` where no model comes along, its files are damaged, or its backbone is another.
    """
    if settings.weights != PAINTINGS:
        return settings
    if (folder := shipped_model()) is None:
        raise UserError(
            "--weights paintings: no model comes along with this copy of painters-mtl: use --weights imagenet"
        )
    check_packaged(folder)
    backbone = str(json.loads((folder / NETWORK).read_text(encoding="utf-8"))["settings"]["backbone"])
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


def _same_name(backbone: str) -> str:
    return backbone.lower().replace("_", "")
