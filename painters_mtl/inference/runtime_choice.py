"""The run's network in the runtime asked for, exported on first use; and which runtime is the fastest here.

    forward = open_runtime(run, "openvino", batch_size=32)
    outputs = forward(images)    # {"painter": float32 (n, classes), ...}

A runtime other than Keras is exported on first use into the run folder, `RUN/runtimes/NAME/KEY`, and compared with
Keras on real paintings before it is trusted; the comparison is kept beside it in `check.json`. KEY is made from the
model's weights, so a network that was trained again is exported again. From then on TensorFlow is not imported at all.

What is exported of a packaged model, or of a run that lies where the user cannot write, is kept in the user's cache
folder. A package has what LiteRT needs, and what Keras said of a few pictures: LiteRT is there at once
(`litert_template`).
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_folder, read_if_sound, user_cache, write_json
from painters_mtl.common.lazy_imports import import_extra, import_tensorflow
from painters_mtl.common.messages import say
from painters_mtl.inference.litert_template import fill_template, has_template, keras_on_drawn_pictures
from painters_mtl.inference.parity import (
    MIN_PICTURES,
    compare_outputs,
    outputs_in_batches,
    parity_faults,
    sample_images,
)
from painters_mtl.inference.runtimes import FILES, PACKAGES, installed, keras_forward, open_exported, openvino_core

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

RUNTIMES = ("keras", "openvino", "openvino-bf16", "litert", "auto")
FOLDER, CHECK, SPEEDS = "runtimes", "check.json", "speeds.json"  # in the run folder
VERSION = 1  # of the exported graph; another one is exported anew
TIMED = 32  # pictures at once
FEW = 1_000  # pictures that are labelled before TensorFlow is imported
MANY = 10_000  # pictures for which it pays to measure which runtime is the fastest
KEPT = 4  # models whose exports are kept in the user's cache


def open_runtime(
    run: "Run", name: str = "keras", batch_size: int = 32, sample: "Sequence[ImageFile]" = (), compiled: bool = True
) -> "Forward":
    """The run's network in a runtime of `RUNTIMES`, as a function from cached images to outputs.

    Args:
        batch_size: how many pictures it will be given at once; 1 is tuned for the time of a single one.
        sample: pictures to compare it with Keras on, if that is still to be done; without, the run's own paintings.
        compiled: False: Keras does not compile, which takes longer than one small batch.

    The outputs are those of the network, not calibrated. Raises `UserError` for a runtime that is not installed, and
    for one whose probabilities are not Keras's.
    """
    if name not in RUNTIMES:
        raise UserError(f"--runtime {name} is unknown: {', '.join(RUNTIMES)}")
    if name == "auto":
        name = fastest_runtime(run, sample)
    if name == "keras":
        return keras_forward(run, compiled)
    return open_exported(_format(name), export_on_first_use(run, name, sample), batch_size, _precision(name))


def export_on_first_use(run: "Run", name: str, sample: "Sequence[ImageFile]" = ()) -> Path:
    """The file that a runtime opens: in the run folder, exported and compared with Keras if that is still to be done.

    Arguments and errors as for `open_runtime`.
    """
    run.check()
    import_extra(PACKAGES[_format(name)], _format(name))
    if name == "openvino-bf16" and "BF16" not in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError("--runtime openvino-bf16: this processor does not compute in bfloat16; use openvino")
    place = exports_folder(run)
    folder = place / name / _key(run)
    try:
        if not folder.is_dir():
            _export(run, name, folder, sample)
        elif _stamp(folder, name) != read_if_sound(folder / CHECK).get("stamp"):
            _compare_with_keras(run, name, folder, sample)
    except OSError as error:
        raise UserError(
            f"{place} cannot be written ({error.strerror or error}): make room there, or use --runtime keras"
        ) from error
    return folder / FILES[_format(name)]


def ready_without_tensorflow(run: "Run") -> str:
    """The runtime in 32 bits that opens a run at once, with what is there: a package's template, or an earlier export.

    "" where there is none.
    """
    for name in installed():
        folder = exports_folder(run) / name / _key(run)
        exported = folder.is_dir() and _stamp(folder, name) == read_if_sound(folder / CHECK).get("stamp")
        if exported or (name == "litert" and has_template(run)):
            return name
    return ""


def exports_folder(run: "Run") -> Path:
    """Where what is exported of a run is kept: in its folder; else, and of a packaged model, in the user's cache."""
    in_cache = run.packaged or not os.access(run.folder, os.W_OK)
    return user_cache() / FOLDER / _key(run) if in_cache else run.folder / FOLDER


def _export(run: "Run", name: str, folder: Path, sample: "Sequence[ImageFile]") -> None:
    """Export and compare; the folder appears when both went well. Exports of earlier weights go."""
    say(f"{name}: making the network of {run.title} ready; from the next time on it is there at once")
    with atomic_folder(folder, or_there=True) as temporary:
        if name == "litert" and has_template(run):
            (temporary / FILES[name]).write_bytes(fill_template(run))
        else:
            import_tensorflow()
            from painters_mtl.inference.exporters import export_network
            from painters_mtl.inference.open_network import open_network

            export_network(run, open_network(run), _format(name), temporary, calibrated=False)
        _compare_with_keras(run, name, temporary, sample)
    if (place := exports_folder(run)).parent == user_cache() / FOLDER:
        _remove_but_newest(place.parent)
    for old in folder.parent.iterdir():
        if old != folder and not old.name.startswith("."):
            shutil.rmtree(old, ignore_errors=True)


def _remove_but_newest(folder: Path) -> None:
    """Remove the exports of all but the packaged models that were exported last."""
    exports = sorted((each for each in folder.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime_ns)
    for old in exports[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _compare_with_keras(run: "Run", name: str, folder: Path, sample: "Sequence[ImageFile]") -> None:
    """Compare an exported network with Keras and write `check.json`. Raises `UserError` where the outputs differ."""
    exact = _precision(name) == "f32"
    if exact and has_template(run):
        what, (images, in_keras) = "drawn pictures", keras_on_drawn_pictures(run)
    else:
        what, images = "paintings", _images_to_compare(run, name, sample)
        in_keras = outputs_in_batches(keras_forward(run), images)
    exported = open_exported(_format(name), folder / FILES[_format(name)], precision=_precision(name))
    comparison = compare_outputs(outputs_in_batches(exported, images), in_keras)
    if faults := parity_faults(comparison, exact):
        raise UserError(
            f"--runtime {name} is not used, for its outputs are not those of Keras: {faults}. Delete "
            f"{exports_folder(run) / name} to have it exported again, or use --runtime keras"
        )
    write_json(folder / CHECK, {"runtime": name, **comparison, "stamp": _stamp(folder, name)})
    say(
        f"{name}: compared with Keras on {comparison['paintings']} {what}, largest difference of a probability "
        f"{max(comparison['largest_difference'].values()):.1e}, same class for "
        f"{min(comparison['agreement'].values()):.1%}"
    )


def _images_to_compare(run: "Run", name: str, sample: "Sequence[ImageFile]") -> np.ndarray:
    """Cached images of paintings on which a runtime is compared with Keras. Raises `UserError` where there are too few.

    A sample of under 20 pictures shows little, and what passes is trusted from then on: the run's own are taken.
    """
    if len(sample) < MIN_PICTURES:
        from painters_mtl.runs.training_data import paintings_of_run

        sample = paintings_of_run(run) or sample
    if not sample:
        raise UserError(
            f"--runtime {name} must first be compared with Keras, and there are no paintings to do that on: label some"
        )
    if _precision(name) != "f32" and len(sample) < MIN_PICTURES:
        raise UserError(
            f"--runtime {name} computes in fewer bits and must first be compared with Keras on {MIN_PICTURES} "
            f"paintings; here are {len(sample)}: label more at once, or use --runtime {_format(name)}"
        )
    return sample_images(run, sample)


# ------------------------------------------------------------------------------------------- which is fastest?


def fastest_runtime(run: "Run", sample: "Sequence[ImageFile]" = ()) -> str:
    """The fastest runtime in 32 bits that is installed and gives Keras's outputs.

    For many pictures it is measured, once, and kept beside the exports; measured again when the network, the processor
    or a runtime's version is another. For few it is the first of `EXACT` that can be used: to measure takes longer.
    """
    names = installed()
    if not names:
        return "keras"
    file = exports_folder(run) / SPEEDS
    valid_for = {"key": _key(run), "processor": _processor(), **{name: _version(name) for name in names}}
    measured = read_if_sound(file)
    still_holds = measured.get("valid_for") == valid_for and measured.get("fastest") in ("keras", *names)
    # Keras, such as on a GPU, is waited for some seconds, in which another one labels a few pictures.
    too_few = 0 < len(sample) < FEW and len(measured.get("pictures_a_second", ())) > 1
    if still_holds and not (too_few and measured["fastest"] == "keras"):
        return str(measured["fastest"])
    if len(sample) < MANY:
        return _first_that_can_be_used(run, names, sample)
    try:
        from painters_mtl.runs.training_data import paintings_of_run

        images = sample_images(run, list(sample) or paintings_of_run(run))
    except UserError as error:
        say(f"note: {error}; using --runtime keras")
        return "keras"
    images = np.resize(images, (TIMED, *images.shape[1:]))
    rates: dict[str, float] = {}
    for name in ("keras", *names):
        try:
            rates[name] = _pictures_a_second(open_runtime(run, name, TIMED, sample), images)
        except UserError as error:
            say(f"note: {error}")
    fastest = max(rates, key=lambda name: rates[name])
    say("pictures a second: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, {"fastest": fastest, "pictures_a_second": rates, "valid_for": valid_for})
    except OSError as error:  # a run folder of somebody else's: measured again next time
        say(f"note: {file} cannot be written ({error.strerror or error})")
    return fastest


def _first_that_can_be_used(run: "Run", names: Sequence[str], sample: "Sequence[ImageFile]") -> str:
    for name in names:
        try:
            export_on_first_use(run, name, sample)
            return name
        except UserError as error:
            say(f"note: {error}")
    return "keras"


def _pictures_a_second(forward: "Forward", images: np.ndarray, rounds: int = 3) -> float:
    """The best of a few rounds, after one that does not count."""
    forward(images)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        forward(images)
        times.append(time.perf_counter() - start)
    return len(images) / min(times)


# ------------------------------------------------------------------------------------------- what a check holds for


def _format(name: str) -> str:
    """The export format that a runtime opens, a key of `FILES`."""
    return name.removesuffix("-bf16")


def _precision(name: str) -> str:
    return "bf16" if name.endswith("-bf16") else "f32"


def _key(run: "Run") -> str:
    """Name of the folder for what is exported from these weights at these sizes."""
    content = json.dumps([VERSION, run.digest or run.network_checksum(), run.image_size, run.cache_side, run.views])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _stamp(folder: Path, name: str) -> dict[str, str]:
    """What a comparison with Keras holds for: these files, in this version of the runtime, on such a processor."""
    digests = {
        file.name: hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        for file in sorted(folder.iterdir())
        if file.name != CHECK and file.is_file()
    }
    return {"version": _version(_format(name)), "processor": _processor(), **digests}


def _version(file_format: str) -> str:
    package = PACKAGES[file_format]
    return f"{package} {metadata.version(package)}"


def _processor() -> str:
    """The processor's name and how many cores are here."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"
