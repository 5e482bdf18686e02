"""Checks before anything is read: what cannot work is refused now, not after an hour of making cached images."""

import json
from pathlib import Path

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import UserError
from painters_mtl.common.messages import say
from painters_mtl.runs.model_choice import bundled_model
from painters_mtl.runs.network_files import NETWORK, WEIGHTS
from painters_mtl.runs.packaged import is_packaged
from painters_mtl.runs.run import CONFIG, HEADS, check_teacher_size, open_run
from painters_mtl.training.settings import DISTILL_ON_ONE_MACHINE, EVENED_OUT, TrainSettings
from painters_mtl.training.start_weights import AUTO, IMAGENET, PAINTINGS, with_weights_file
from painters_mtl.training.tf_config import cluster_asked_for


def check_network(settings: TrainSettings, trained_here: bool = True) -> None:
    """Raise `UserError` for a backbone that does not exist or cannot be built, and for weights that are not there.

    Args:
        trained_here: this process trains; a machine of a Ray cluster may have another Keras.
    """
    if settings.weights == PAINTINGS:
        settings = with_weights_file(settings)
    if settings.weights not in (AUTO, IMAGENET, "none") and not Path(settings.weights).is_file():
        raise UserError(
            f"--weights {settings.weights} is not there: give a weights file, auto, imagenet, paintings, or none"
        )
    if settings.backbone in ("efficientnet_lite0", "small_convnet"):
        return
    lazy_imports.import_tensorflow()
    from painters_mtl.network.backbones import build_backbone, find_application

    # Workers meet before TensorFlow makes a variable.
    if not trained_here or cluster_asked_for(settings.distribute) is not None:
        find_application(settings.backbone)
    else:
        build_backbone(settings.backbone, settings.image_size, with_weights_file(settings).weights)


def check_sources(settings: TrainSettings, folder: Path) -> None:
    """Raise `UserError` unless the runs to start from or learn from exist, fit, and are not in the folder to be made.

    Args:
        folder: that of the new run.
    """
    sources_of_shared = ("mean", "imagenet", *settings.task_names())
    if settings.start_shared not in sources_of_shared:
        raise UserError(f"--start-shared {settings.start_shared} is unknown: {', '.join(sources_of_shared)}")
    _check_effect(settings)
    if (file := Path(settings.weights)).is_file():
        _check_is_elsewhere(file, "--weights", folder)
    if not settings.start_from and not settings.teachers:
        return
    from painters_mtl.images.cache import cache_side

    for option, sources in (("--start-from", settings.start_from), ("--teachers", settings.teachers)):
        for source in sources:
            if option == "--start-from":
                _check_has_heads(source)
            run = open_run(source, option=option)
            if option == "--teachers" and settings.teacher_view == "whole":
                check_teacher_size(run, cache_side(settings.image_size))
            elif option == "--teachers" and run.views != settings.views:
                raise UserError(
                    f"--teachers {source} looks at --views {','.join(run.views)}, and the network here at "
                    f"{','.join(settings.views)}: use the same, or leave --teacher-view out"
                )
            _check_is_elsewhere(source, option, folder)


def _check_is_elsewhere(source: Path, option: str, folder: Path) -> None:
    """Raise `UserError` for a source in the folder that is to be made."""
    if folder.resolve() in (source.resolve(), *source.resolve().parents):
        raise UserError(f"{option} {source} is part of the run {folder} itself: choose another --name")


def _check_effect(settings: TrainSettings) -> None:
    """Raise `UserError` for an option that does nothing without another one. Runs keep such settings all the same."""
    ways = set(getattr(settings, "strategies", ())) or {settings.strategy}  # of a study, or of a training
    taught = bool(settings.teachers) or settings.distill or "distilled" in ways
    for name, works, needed in (
        ("start_shared", bool(settings.start_from), "--start-from"),
        ("temperature", taught, "--teachers or --distill"),
        ("teacher_weight", taught, "--teachers or --distill"),
        ("teacher_schedule", taught, "--teachers or --distill"),
        ("teacher_view", taught, "--teachers or --distill"),
        ("task_sampling", "alternate" in ways, "--strategy alternate"),
    ):
        value = getattr(settings, name)
        if not works and value != getattr(TrainSettings, name):
            raise UserError(f"--{name.replace('_', '-')} {value} does nothing without {needed}")
    if settings.task_weights and settings.quality != "best" and ways <= EVENED_OUT.keys():
        why = "; ".join(f"{way} {EVENED_OUT[way]}" for way in sorted(ways))
        say(f"note: --task-weights changes little: {why}; only a weight of 0 counts")
    if settings.freeze == "backbone" and not settings.trains_shared_weights():
        raise UserError("--freeze backbone does nothing with --fine-tune heads, which freezes it to the end")


def _check_has_heads(source: Path) -> None:
    """Raise `UserError` for a packaged model without the heads of before they were fitted to pyramid maps.

    At the start of a training no head reads such maps. What helps then is its backbone, which --weights takes.
    """
    bundled = bundled_model()
    if str(source) == PAINTINGS and not source.is_dir() and bundled is not None:
        raise UserError("--start-from paintings is no folder: --weights paintings starts from the bundled model")
    if not is_packaged(source) or (source / HEADS).is_file():
        return
    try:
        refitted = bool(json.loads((source / NETWORK).read_text(encoding="utf-8"))["multi_scale"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # opening it names what is damaged
    if refitted:
        ours = bundled is not None and source.resolve() == bundled.resolve()
        raise UserError(
            f"--start-from {source} has no {HEADS}, the heads that a training starts from: use --weights "
            f"{PAINTINGS if ours else source / WEIGHTS}, which starts from its backbone"
        )


def check_several_workers(settings: TrainSettings, worker: int) -> None:
    """Raise `UserError` for what several workers cannot do, or could not go on from after a stop.

    Args:
        worker: the number of this one.
    """
    if settings.distill:
        raise UserError(DISTILL_ON_ONE_MACHINE)
    if not settings.name or settings.overwrite:
        raise UserError(
            "several workers need a --name and no --overwrite: the same command on all must be able to go on after a "
            "stop"
        )
    if settings.resume and not (settings.models / settings.name / CONFIG).is_file():
        raise UserError(
            f"--resume: worker {worker} does not see the folder of the run: leave --resume out, and start all workers "
            "with the command of the start; it goes on"
        )
