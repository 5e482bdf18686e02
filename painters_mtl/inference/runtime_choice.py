"""The run's network in the runtime asked for, exported on first use; and which runtime is the fastest here.

    forward = open_runtime(run, "openvino", batch_size=32)
    outputs = forward(images)    # {"painter": float32 (n, classes), ...}

A runtime other than Keras is exported on first use into the run folder, `RUN/runtimes/NAME/KEY`, and compared with
Keras on real paintings before it is trusted; the comparison is kept beside it in `check.json`. KEY is made from the
model's weights, so a network that was trained again is exported again. From then on TensorFlow is not imported at all.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.common.files import atomic_folder, write_json
from painters_mtl.common.lazy_imports import import_extra, import_tensorflow
from painters_mtl.inference.parity import FEWEST, compare_outputs, outputs_in_batches, parity_faults, sample_images
from painters_mtl.inference.runtimes import FILES, PACKAGES, installed, keras_forward, open_exported, openvino_core

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

RUNTIMES = ("keras", "openvino", "openvino-bf16", "litert", "auto")
FOLDER, CHECK, SPEEDS = "runtimes", "check.json", "speeds.json"  # in the run folder
VERSION = 1  # of the exported graph; another one is exported anew
TIMED = 32  # pictures at once


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
    folder = run.folder / FOLDER / name / _key(run)
    try:
        if not folder.is_dir():
            _export(run, name, folder, sample)
        elif _stamp(folder, name) != _read_object(folder / CHECK).get("stamp"):
            _compare_with_keras(run, name, folder, sample)
    except OSError as error:
        raise UserError(
            f"{run.folder / FOLDER} cannot be written ({error.strerror or error}): copy the run to a folder of your "
            "own, or use --runtime keras"
        ) from error
    return folder / FILES[_format(name)]


def _export(run: "Run", name: str, folder: Path, sample: "Sequence[ImageFile]") -> None:
    """Export and compare; the folder appears when both went well. Exports of earlier weights go."""
    print(f"{name}: exporting the network of {run.folder} (once)", flush=True)
    import_tensorflow()
    from painters_mtl.inference.exporters import save
    from painters_mtl.inference.open_network import open_network

    with atomic_folder(folder) as temporary:
        save(run, open_network(run), _format(name), temporary, calibrated=False)
        _compare_with_keras(run, name, temporary, sample)
    for old in folder.parent.iterdir():
        if old != folder and not old.name.startswith("."):
            shutil.rmtree(old, ignore_errors=True)


def _compare_with_keras(run: "Run", name: str, folder: Path, sample: "Sequence[ImageFile]") -> None:
    """Compare an exported network with Keras and write `check.json`. Raises `UserError` where the outputs differ.

    A sample of under 20 pictures shows little, and what passes is trusted from then on: the run's own are taken.
    """
    exact = _precision(name) == "f32"
    if len(sample) < FEWEST:
        from painters_mtl.runs.training_data import paintings_of_run

        sample = paintings_of_run(run) or sample
    if not sample:
        raise UserError(
            f"--runtime {name} must first be compared with Keras, and there are no paintings to do that on: label some"
        )
    if not exact and len(sample) < FEWEST:
        raise UserError(
            f"--runtime {name} computes in fewer bits and must first be compared with Keras on {FEWEST} paintings; "
            f"here are {len(sample)}: label more at once, or use --runtime {_format(name)}"
        )
    images = sample_images(run, sample)
    exported = open_exported(_format(name), folder / FILES[_format(name)], precision=_precision(name))
    comparison = compare_outputs(outputs_in_batches(exported, images), outputs_in_batches(keras_forward(run), images))
    if faults := parity_faults(comparison, exact):
        raise UserError(
            f"--runtime {name} is not used, for its outputs are not those of Keras: {faults}. Delete "
            f"{run.folder / FOLDER / name} to have it exported again, or use --runtime keras"
        )
    write_json(folder / CHECK, {"runtime": name, **comparison, "stamp": _stamp(folder, name)})
    print(
        f"{name}: compared with Keras on {comparison['paintings']} paintings, largest difference of a probability "
        f"{max(comparison['largest_difference'].values()):.1e}, same class for "
        f"{min(comparison['agreement'].values()):.1%}",
        flush=True,
    )


# ------------------------------------------------------------------------------------------- which is fastest?


def fastest_runtime(run: "Run", sample: "Sequence[ImageFile]" = ()) -> str:
    """The fastest runtime in 32 bits that is installed and gives Keras's outputs; measured once, kept in the folder.

    Measured again when the network, the processor or a runtime's version is another.
    """
    names = installed()
    if not names:
        return "keras"
    file = run.folder / FOLDER / SPEEDS
    valid_for = {"key": _key(run), "processor": _processor(), **{name: _version(name) for name in names}}
    measured = _read_object(file)
    if measured.get("valid_for") == valid_for and measured.get("fastest") in ("keras", *names):
        return str(measured["fastest"])
    try:
        from painters_mtl.runs.training_data import paintings_of_run

        images = sample_images(run, list(sample) or paintings_of_run(run))
    except UserError as error:
        print(f"note: {error}; using --runtime keras", flush=True)
        return "keras"
    images = np.resize(images, (TIMED, *images.shape[1:]))
    rates: dict[str, float] = {}
    for name in ("keras", *names):
        try:
            rates[name] = _pictures_a_second(open_runtime(run, name, TIMED, sample), images)
        except UserError as error:
            print(f"note: {error}", flush=True)
    fastest = max(rates, key=lambda name: rates[name])
    print("pictures a second: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()), flush=True)
    try:
        file.parent.mkdir(exist_ok=True)
        write_json(file, {"fastest": fastest, "pictures_a_second": rates, "valid_for": valid_for})
    except OSError as error:  # a run folder of somebody else's: measured again next time
        print(f"note: {file} cannot be written ({error.strerror or error})", flush=True)
    return fastest


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


def _read_object(file: Path) -> dict[str, Any]:
    """A JSON file's object; {} if it is missing or damaged."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
