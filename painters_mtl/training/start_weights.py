"""What a backbone starts from: what stands behind --weights auto and --weights paintings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import read_if_sound
from painters_mtl.common.messages import counted, say
from painters_mtl.network.settings import NetworkSettings, backbone_key
from painters_mtl.runs.keras_file import MODEL
from painters_mtl.runs.model_choice import bundled_model
from painters_mtl.runs.network_files import NETWORK, WEIGHTS
from painters_mtl.runs.packaged import check_packaged, training_codes
from painters_mtl.runs.run import CONFIG, SPLIT

if TYPE_CHECKING:
    import numpy as np

    from painters_mtl.data.dataset import Dataset
    from painters_mtl.training.settings import TrainSettings

AUTO, PAINTINGS, IMAGENET = "auto", "paintings", "imagenet"  # words behind --weights
S = TypeVar("S", bound=NetworkSettings)
T = TypeVar("T", bound="TrainSettings")


def with_stored_start(settings: T, folder: Path) -> T:
    """The settings with the word that --weights auto stood for where the run or study in `folder` began, if one did."""
    if settings.weights != AUTO or settings.overwrite:
        return settings
    return replace(settings, weights=read_if_sound(folder / CONFIG).get("weights", AUTO))


def seen_codes(settings: "TrainSettings") -> "np.ndarray | None":
    """The codes of the works that trained what the backbone may start from, for `dataset.prepare`: uint32 (n,).

    None where neither the backbone nor a run to start or learn from has its weights from the bundled model, or
    that model keeps no codes.
    """
    folder = _bundled_start(settings)
    return None if folder is None else training_codes(folder)


def with_known_start(settings: T, data: "Dataset", folds: bool = False) -> T:
    """The settings with the word that --weights auto stands for; a line says which, and why not the other.

    It is paintings where no painting of the validation and test parts looks like a work that trained the
    bundled model: from it, every collection that was measured is learned better (docs/experiments/own-painters.md).

    Args:
        folds: cross-validation tests every painting but the seen ones, if these are not too many.
    """
    auto = settings.weights == AUTO
    otherwise = replace(settings, weights=IMAGENET) if auto else settings
    if data.seen is None or data.demo:  # no such start, or nothing is known of the works that trained it
        if settings.weights == PAINTINGS and not data.demo:
            say("note: --weights paintings was trained on works of WikiArt: test results on those works are too good")
        return otherwise
    measured = data.seen & ((data.split == "test") | (data.split == "validation"))
    if folds:
        measured = data.seen & (not data.few_seen())
    those = f"{counted(int(measured.sum()), 'painting')} of the test and validation parts"
    started = not auto or settings.start_from
    if measured.any() and (started or _learns_from_bundled(settings)):
        say(
            f"note: {those} trained the bundled model, as far as pictures tell, and this training has its "
            "start or its teachers from there: test results are too good"
        )
    if started:
        return otherwise
    if measured.any():
        say(
            f"the backbone starts from ImageNet's weights: {those} trained the bundled model, as far as "
            "pictures tell (--weights paintings starts from it all the same)"
        )
        return otherwise
    say(
        "the backbone starts from the bundled model, whose weights are for non-commercial use "
        "(--weights imagenet: from ImageNet's)"
    )
    return replace(settings, weights=PAINTINGS)


def _bundled_start(settings: "TrainSettings") -> Path | None:
    """The folder of the bundled model, where the training may have weights or answers from it; else None.

    Raises `UserError` where one of its files is damaged.
    """
    if (bundled := bundled_model()) is None:
        return None
    by_word = settings.weights == PAINTINGS or (settings.weights == AUTO and not settings.start_from)
    if by_word and backbone_key(_backbone_of(bundled)) == backbone_key(settings.backbone):
        check_packaged(bundled)
        return bundled
    file = Path(settings.weights)
    sources = [*settings.start_from, *settings.teachers, *([file.parent] if file.is_file() else [])]
    return bundled if any(_descends(source, bundled, set()) for source in sources) else None


def _learns_from_bundled(settings: "TrainSettings") -> bool:
    """Whether a teacher is the bundled model, or has its weights or answers from there."""
    bundled = bundled_model()
    return bundled is not None and any(_descends(teacher, bundled, set()) for teacher in settings.teachers)


def _descends(folder: Path, bundled: Path, visited: set[Path]) -> bool:
    """Whether the weights or the teachers of a run are, over whatever runs between, those of the package `bundled`."""
    if (folder := folder.resolve()) in visited:
        return False
    visited.add(folder)
    stored = read_if_sound(folder / CONFIG)
    if folder == bundled.resolve() or stored.get("weights") == PAINTINGS:
        return True
    before = [Path(name) for key in ("start_from", "teachers") for name in stored.get(key) or ()]
    if (file := Path(str(stored.get("weights", "")))).suffix:
        before.append(file.parent)
    return any(_descends(_as_seen_from(folder, source), bundled, visited) for source in before)


def _as_seen_from(folder: Path, source: Path) -> Path:
    """Where a path of a run's config.json leads: it may start at a folder above the run, where the command was called.

    That need not be where the command of now is called.
    """
    return next((above / source for above in folder.parents if (above / source).exists()), source)


def weights_of_run(settings: NetworkSettings) -> list[Path]:
    """The file behind --weights where it is that of a run which says what it was trained on; else nothing."""
    file = Path(settings.weights)
    return [file] if file.name in (WEIGHTS, MODEL) and file.is_file() and (file.parent / SPLIT).is_file() else []


def with_weights_file(settings: S) -> S:
    """The settings with the file of weights in the place of the word paintings, and imagenet in that of auto.

    Raises `UserError` where no model is bundled, its files are damaged, or its backbone is another.
    """
    if settings.weights == AUTO:
        return replace(settings, weights=IMAGENET)
    if settings.weights != PAINTINGS:
        return settings
    if (folder := bundled_model()) is None:
        raise UserError(
            "--weights paintings: no model is bundled with this copy of painters-mtl: use --weights imagenet"
        )
    check_packaged(folder)
    backbone = _backbone_of(folder)
    if backbone_key(backbone) != backbone_key(settings.backbone):
        raise UserError(
            f"--weights paintings is the backbone of the bundled model, {backbone}: leave --backbone "
            f"{settings.backbone} out, or use --weights imagenet"
        )
    return replace(settings, weights=str(folder / WEIGHTS))


def weights_file(settings: NetworkSettings) -> Path | None:
    """The file that the backbone starts from; None where it starts from ImageNet's weights or random ones."""
    file = Path(with_weights_file(settings).weights)
    return file if file.is_file() else None


def _backbone_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / NETWORK).read_text(encoding="utf-8"))["settings"]["backbone"])
    except (OSError, ValueError, KeyError, TypeError):
        check_packaged(folder)  # names the damage
        raise
