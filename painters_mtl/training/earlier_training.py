"""What a run folder holds of the very training that is asked for: its result, its checkpoint, its precision."""

import dataclasses
import io

import pandas as pd

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import read_if_sound, read_json
from painters_mtl.common.messages import say
from painters_mtl.network.precision import policy
from painters_mtl.runs.run import CONFIG, METRICS
from painters_mtl.training import checkpoint
from painters_mtl.training.devices import Devices
from painters_mtl.training.run_folder import check_replaceable, is_study, restore_replaced
from painters_mtl.training.run_result import RunResult, read_result
from painters_mtl.training.run_spec import RunSpec
from painters_mtl.training.start_weights import weights_of_run
from painters_mtl.training.transfer import check_test_paintings_unseen


def with_known_precision(spec: RunSpec, devices: Devices) -> RunSpec:
    """The training with the precision that "auto" stands for: that in which it began, else what this machine is for.

    config.json holds it, so that a training which began in bfloat16 goes on in bfloat16, on whatever machine.
    """
    settings = spec.settings
    if settings.precision != "auto":
        return spec
    here = policy("auto")
    precision = (_stored_precision(spec) or here) if devices.chief else ""
    if devices.chief and precision != here:
        say(f"note: {spec.folder} goes on in {precision}, as it began; by itself this machine would use {here}")
    precision = devices.from_chief(precision.encode()).decode()
    decided = dataclasses.replace(settings, precision=precision)  # type: ignore[arg-type]
    return dataclasses.replace(spec, settings=decided)


def _stored_precision(spec: RunSpec) -> str:
    """The precision of the training in the folder; "" where there is none to go on with."""
    begun = any((spec.folder / name).exists() for name in (checkpoint.CHECKPOINT, METRICS))
    if spec.settings.overwrite or not begun:
        return ""
    precision = str(read_if_sound(spec.folder / CONFIG).get("precision", ""))
    return "" if precision == "auto" else precision


def earlier_training(
    spec: RunSpec, key: str, devices: Devices
) -> tuple[RunResult | None, checkpoint.Checkpoint | None]:
    """The result of this very training, or a checkpoint to go on from; (None, None) where it starts anew.

    The chief looks into the folder and tells the other processes, which need not see its disk.
    Raises `UserError` where the folder holds what is not to be replaced.

    Args:
        key: the fingerprint of the training.
    """
    result, state = _look(spec, key) if devices.chief else (None, None)
    if devices.cluster is not None:
        updates = int(devices.from_chief(str(-1 if result is None else result.metrics["updates"]).encode()))
        content = devices.from_chief((spec.folder / checkpoint.CHECKPOINT).read_bytes() if state else b"")
        if not devices.chief:
            state = checkpoint.read(io.BytesIO(content), key) if content else None
            if updates >= 0:
                result = follower_result(spec, pd.DataFrame(), updates, interrupted=False)
    return result, state


def follower_result(spec: RunSpec, history: pd.DataFrame, updates: int, interrupted: bool) -> RunResult:
    """What a process returns that is not the chief: it measures nothing."""
    measured = {"updates": updates, "precision": spec.settings.precision}
    return RunResult(history, measured, spec.data.rows("test"), {}, interrupted)


def _look(spec: RunSpec, key: str) -> tuple[RunResult | None, checkpoint.Checkpoint | None]:
    """As `earlier_training`, in the process that owns the folder."""
    data, settings, folder = spec.data, spec.settings, spec.folder
    restore_replaced(folder)
    check_replaceable(folder)
    if not settings.overwrite:
        if (result := read_result(data, folder, key, spec.keep_model)) is not None:
            say(f"{folder} is trained already: reusing it")
            checkpoint.remove(folder)  # where it was killed just before it did so itself
            return result, None
        _check_not_another(spec, key)
    check_test_paintings_unseen(data, settings.start_from, "start-from")
    check_test_paintings_unseen(data, settings.teachers, "teachers")
    check_test_paintings_unseen(data, weights_of_run(settings), "weights")
    state = None if settings.overwrite else checkpoint.load(folder, key, needed=settings.resume)
    if settings.resume and state is None and (folder / METRICS).exists():
        raise UserError(f"{folder} has lost its {checkpoint.CHECKPOINT}: without --resume, the training starts anew")
    return None, state


def _check_not_another(spec: RunSpec, key: str) -> None:
    """Raise `UserError` for a study, and for a training of something else that came to its end."""
    if is_study(spec.folder):
        raise UserError(f"{spec.folder} is the folder of a study: choose another --name, or --overwrite")
    try:
        measured = read_json(spec.folder / METRICS)
        another = not measured["interrupted"] and measured["fingerprint"] != key
    except (OSError, ValueError, KeyError, TypeError):
        return
    if another:
        raise UserError(
            f"{spec.folder} was trained with other paintings, labels or settings: choose another --name, or --overwrite"
        )
