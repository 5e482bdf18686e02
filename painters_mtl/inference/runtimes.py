"""Run a trained network in Keras, OpenVINO or LiteRT: the same probabilities, at another speed.

    forward = runtimes.load(run, "openvino", batch=32)
    outputs = forward(copies)    # {"painter": float32 (n, classes), ...}

A runtime other than Keras is exported on first use into the run folder, `RUN/runtimes/NAME/KEY`, and compared with
Keras on real paintings before it is trusted; what came of that is kept beside it in `check.json`. KEY is made from the
model's weights, so a network that was trained again is exported again. From then on TensorFlow is not imported at all.
"""

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common import lazy_imports
from painters_mtl.common.errors import Unreadable, UserError
from painters_mtl.common.files import write_json
from painters_mtl.common.lazy_imports import import_extra

if TYPE_CHECKING:
    from painters_mtl.images.files import ImageFile
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

RUNTIMES = ("keras", "openvino", "openvino-bf16", "litert", "auto")
EXACT = ("openvino", "litert")  # in 32 bits; what `auto` chooses from, beside Keras
FILES = {
    "saved_model": "saved_model",
    "litert": "model.tflite",
    "litert-int8": "model.tflite",
    "onnx": "model.onnx",
    "openvino": "model.xml",
}
PACKAGES = {"openvino": "openvino", "litert": "ai_edge_litert", "onnx": "onnxruntime", "saved_model": "tensorflow"}
FOLDER, CHECK, SPEEDS = "runtimes", "check.json", "speeds.json"
VERSION = 1  # of the exported graph; another one is exported anew
TOLERANCE = 1e-3  # of a probability, in 32 bits
AGREEMENT = 0.99  # share of paintings whose likeliest class stays, in fewer bits
CHECKED = 64  # paintings, at most, for the comparison with Keras
FEWEST = 20  # paintings without which a share of 99 % means nothing
SLICE = 8  # pictures of 120 x 120 that go through one core at once; of larger ones fewer, for they leave its cache

Result = dict[str, np.ndarray]


def load(
    run: "Run", name: str = "keras", batch: int = 32, sample: "Sequence[ImageFile]" = (), once: bool = False
) -> "Forward":
    """The run's network in a runtime of `RUNTIMES`, as a function from copies to outputs.

    Args:
        batch: how many pictures it will be given at once; 1 is tuned for the time of a single one.
        sample: pictures to compare it with Keras on, if that is still to be done; without, the run's own paintings.
        once: it will be given one small batch, for which Keras need not compile.

    The outputs are those of the network, not calibrated. Raises `UserError` for a runtime that is not installed, and
    for one whose probabilities are not Keras's.
    """
    if name not in RUNTIMES:
        raise UserError(f"--runtime {name} is unknown: {', '.join(RUNTIMES)}")
    if name == "auto":
        name = fastest(run, sample)
    if name == "keras":
        return keras_forward(run, not once)
    run.check()
    import_extra(PACKAGES[_kind(name)], _kind(name))
    if name == "openvino-bf16" and "BF16" not in _openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UserError("--runtime openvino-bf16: this processor does not compute in bfloat16; use openvino")
    place = run.folder / FOLDER / name / _key(run)
    if not place.is_dir():
        _export(run, name, place, sample)
    elif _stamp(place, name) != _read(place / CHECK).get("stamp"):
        try:
            _check(run, name, place, sample)
        except OSError as error:
            raise _no_room(run, error) from error
    return open_exported(_kind(name), place / FILES[_kind(name)], batch, "bf16" if name.endswith("bf16") else "f32")


def keras_forward(run: "Run", compiled: bool = True) -> "Forward":
    """The network in Keras, as validation and test saw it."""
    lazy_imports.import_tensorflow()
    from painters_mtl.network.forward import forward_function

    function = forward_function(run.model(), run.image_size, compiled)
    return lambda copies: {name: values.numpy() for name, values in function(copies).items()}


def installed() -> list[str]:
    """The runtimes in 32 bits, beside Keras, whose packages are here."""
    return [name for name in EXACT if importlib.util.find_spec(PACKAGES[name]) is not None]


# --------------------------------------------------------------------------------------------- exported networks


def _cores() -> int:
    """As many as TensorFlow may use: a worker of Ray's has a part of its machine."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or os.cpu_count() or 1


def open_exported(file_format: str, file: Path, batch: int = 32, precision: str = "f32") -> "Forward":
    """An exported network in its own runtime. Raises `UserError` if it is missing or cannot be loaded.

    Args:
        file_format: a key of `FILES`.
        precision: "f32" or "bf16"; for OpenVINO only.
    """
    opened: dict[str, Callable[[], Forward]] = {
        "saved_model": lambda: _saved_model(file),
        "onnx": lambda: _onnx(file),
        "openvino": lambda: _openvino(file, batch, precision),
        "litert": lambda: _litert(file, batch),
        "litert-int8": lambda: _litert(file, batch),
    }
    try:
        return opened[file_format]()
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"{file} cannot be loaded ({reason}): export it again") from error


def inputs_of(copies: np.ndarray) -> dict[str, np.ndarray]:
    """Copies by the names of an exported network's inputs: uint8 (n, side, side, 3), or (n, 2, side, side, 3)."""
    if copies.ndim == 4:
        return {"image": copies}
    return {"image": np.ascontiguousarray(copies[:, 0]), "detail": np.ascontiguousarray(copies[:, 1])}


def _slice_size(batch: int, side: int) -> int:
    return max(1, min(batch, SLICE, SLICE * 120**2 // side**2))


def _slices(copies: np.ndarray, size: int) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of `size` pictures each; the last slice is filled up with its last picture."""
    for start in range(0, len(copies), size):
        part = copies[start : start + size]
        if len(part) < size:
            part = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
        yield inputs_of(part)


def _joined(parts: Sequence[Result], n: int) -> Result:
    return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}


def _openvino_core() -> Any:
    return import_extra("openvino", "openvino").Core()


def _openvino(file: Path, batch: int, precision: str) -> "Forward":
    """Batches as slices, one on each core: slices do not wait for each other as the threads of one operation do."""
    openvino = import_extra("openvino", "openvino")
    core = _openvino_core()
    model = core.read_model(file)
    size = _slice_size(batch, model.inputs[0].partial_shape[1].get_length())
    model.reshape({put.any_name: [size, *list(put.partial_shape)[1:]] for put in model.inputs})
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY" if batch == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": _cores(),
    }
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", hints))
    names = [output.any_name for output in model.outputs]
    parts: dict[int, Result] = {}

    def keep(request: Any, number: int) -> None:
        parts[number] = {name: request.get_tensor(name).data.copy() for name in names}

    queue.set_callback(keep)

    def forward(copies: np.ndarray) -> Result:
        parts.clear()
        for number, inputs in enumerate(_slices(copies, size)):
            queue.start_async(inputs, number)
        queue.wait_all()
        return _joined([parts[number] for number in range(len(parts))], len(copies))

    return forward


def _litert(file: Path, batch: int) -> "Forward":
    """As for OpenVINO; here each core has an interpreter of its own."""
    interpreter = import_extra("ai_edge_litert.interpreter", "litert").Interpreter
    cores = _cores()
    workers = 1 if batch == 1 else min(cores, 8)

    def make() -> Any:
        with lazy_imports.quiet():
            one = interpreter(str(file), num_threads=max(1, cores // workers))
            one.allocate_tensors()
        return one.get_signature_runner()

    idle = [make() for _ in range(workers)]
    side = int(idle[0].get_input_details()["image"]["shape"][1])
    size = _slice_size(batch, side)
    pool = ThreadPoolExecutor(workers)

    def one_slice(inputs: dict[str, np.ndarray]) -> Result:
        runner = idle.pop()
        try:
            return runner(**inputs)
        finally:
            idle.append(runner)

    return lambda copies: _joined(list(pool.map(one_slice, _slices(copies, size))), len(copies))


def _onnx(file: Path) -> "Forward":
    session = import_extra("onnxruntime", "onnx").InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda copies: dict(zip(names, session.run(names, inputs_of(copies)), strict=True))


def _saved_model(file: Path) -> "Forward":
    lazy_imports.import_tensorflow()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(file))
    served = loaded.signatures["serving_default"]

    def forward(copies: np.ndarray) -> Result:
        tensors = {name: tf.constant(values) for name, values in inputs_of(copies).items()}
        return {name: values.numpy() for name, values in served(**tensors).items()}

    forward.loaded = loaded  # type: ignore[attr-defined]  # a signature does not keep alive what it belongs to
    return forward


# ------------------------------------------------------------------------------------------- are they the same?


def difference(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How far outputs are from Keras's, for each by name.

    Returns {"paintings", "largest_difference": {output: float}, "agreement": {output: share of the paintings whose
    likeliest class is the same}}. Raises `UserError` if the outputs are others.
    """
    shapes = ({name: np.shape(values) for name, values in outputs.items()} for outputs in (found, wanted))
    if (here := next(shapes)) != (there := next(shapes)):
        raise UserError(f"the exported network has the outputs {here}, the one in Keras {there}: export it again")
    far = {name: float(np.abs(found[name] - wanted[name]).max()) for name in wanted}
    same = {name: float(np.mean(found[name].argmax(1) == wanted[name].argmax(1))) for name in wanted}
    # A value that is not a number must not pass as no difference.
    far = {name: value if np.isfinite(value) else float("inf") for name, value in far.items()}
    return {"paintings": len(next(iter(wanted.values()))), "largest_difference": far, "agreement": same}


def parity_faults(found: Mapping[str, Any], exact: bool) -> str:
    """What speaks against trusting a network with this `difference`; "" if nothing does.

    Args:
        exact: it computes in 32 bits: no probability may differ by more than 1e-3. Else 99 % of the paintings must
            keep their likeliest class.
    """
    if exact:
        bad = [f"{name} differs by {v:.2g}" for name, v in found["largest_difference"].items() if v > TOLERANCE]
        return f"{', '.join(bad)} (at most {TOLERANCE:g} is allowed)" if bad else ""
    bad = [f"{name} agrees on {v:.1%}" for name, v in found["agreement"].items() if v < AGREEMENT]
    return f"{', '.join(bad)} of the paintings (at least {AGREEMENT:.0%} is asked)" if bad else ""


def in_parts(forward: "Forward", copies: np.ndarray, size: int = 32) -> Result:
    """`forward` on any number of copies, `size` at once."""
    parts = [dict(forward(copies[i : i + size])) for i in range(0, len(copies), size)]
    return _joined(parts, len(copies))


def cached_images_of(run: "Run", files: "Sequence[ImageFile]", count: int = CHECKED) -> np.ndarray:
    """Small copies of `count` readable pictures spread evenly over the files: uint8, as the run's network takes them.

    Raises `UserError` if none can be read.
    """
    from painters_mtl.images.decode import cached_image

    first = evenly_spaced(np.arange(len(files)), count)
    copies: list[np.ndarray] = []
    for file in (files[i] for i in (*first, *np.setdiff1d(np.arange(len(files)), first))):  # the rest for damaged ones
        if len(copies) == count:
            break
        try:
            copies.append(cached_image(file.read(), run.copy_side, run.views, str(file))[1])
        except Unreadable:
            continue
    if not copies:
        raise UserError(f"none of the {len(files)} pictures to compare the runtimes on can be read")
    return np.stack(copies)


def evenly_spaced(rows: np.ndarray, count: int) -> np.ndarray:
    """So many of the rows, from the first to the last: a folder may be sorted by painter. All where there are fewer."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(np.int64)]


def paintings_of_run(run: "Run") -> "list[ImageFile]":
    """The pictures that the run was trained on, if they are still where its config.json says; else none."""
    from painters_mtl.data.catalog import find_data
    from painters_mtl.data.locations import DEMO_FOLDER
    from painters_mtl.images import files as images
    from painters_mtl.runs.run import CONFIG

    if not (config := _read(run.folder / CONFIG)):
        return []
    place = Path(config["data"]) if config.get("data") else DEMO_FOLDER if run.demo else find_data(None)
    return images.find_images(place) if place is not None and place.is_dir() else []


def _check(run: "Run", name: str, place: Path, sample: "Sequence[ImageFile]") -> None:
    """Compare an exported network with Keras and write down what came of it. Raises `UserError` if it is not the same.

    A sample of under 20 pictures shows little, and what passes is trusted from then on: the run's own are taken.
    """
    exact = name in EXACT
    if len(sample) < FEWEST:
        sample = paintings_of_run(run) or sample
    if not sample:
        raise UserError(
            f"--runtime {name} must first be compared with Keras, and there are no paintings to do that on: label some"
        )
    if not exact and len(sample) < FEWEST:
        raise UserError(
            f"--runtime {name} computes in fewer bits and must first be compared with Keras on {FEWEST} paintings; "
            f"here are {len(sample)}: label more at once, or use --runtime {_kind(name)}"
        )
    copies = cached_images_of(run, sample)
    kind = _kind(name)
    forward = open_exported(kind, place / FILES[kind], precision="f32" if exact else "bf16")
    found = difference(in_parts(forward, copies), in_parts(keras_forward(run), copies))
    if fault := parity_faults(found, exact):
        raise UserError(
            f"--runtime {name} is not used, for it does not say what Keras says: {fault}. Delete "
            f"{run.folder / FOLDER / name} to have it exported again, or use --runtime keras"
        )
    write_json(place / CHECK, {"runtime": name, **found, "stamp": _stamp(place, name)})
    print(
        f"{name}: compared with Keras on {found['paintings']} paintings, largest difference of a probability "
        f"{max(found['largest_difference'].values()):.1e}, same class for {min(found['agreement'].values()):.1%}",
        flush=True,
    )


def _export(run: "Run", name: str, place: Path, sample: "Sequence[ImageFile]") -> None:
    """Export and check; the folder appears when both went well. Exports of earlier weights go."""
    print(f"{name}: exporting the network of {run.folder} (once)", flush=True)
    lazy_imports.import_tensorflow()
    from painters_mtl.inference.exporters import save

    try:
        with new_folder(place) as folder:
            save(run, run.model(), _kind(name), folder, calibrated=False)
            _check(run, name, folder, sample)
    except OSError as error:
        raise _no_room(run, error) from error
    for old in place.parent.iterdir():
        if old != place and not old.name.startswith("."):
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def new_folder(place: Path, replace: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `place` when the block ends well, and goes when it does not.

    Args:
        replace: put it in the place of a folder that is there; else that one is kept.
    """
    temporary, aside = (place.with_name(f".{os.getpid()}{kind}-{place.name}") for kind in ("", "-old"))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if replace and place.exists():
            place.replace(aside)
        try:
            temporary.replace(place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _no_room(run: "Run", error: OSError) -> UserError:
    return UserError(
        f"{run.folder / FOLDER} cannot be written ({error.strerror or error}): copy the run to a folder of your own, "
        "or use --runtime keras"
    )


def _kind(name: str) -> str:
    """The format that a runtime opens."""
    return name.removesuffix("-bf16")


def _key(run: "Run") -> str:
    """Name of the folder for what is exported from these weights at these sizes."""
    from painters_mtl.runs.run import MODEL, digest_of

    weights = run.digest or digest_of(run.folder / MODEL)
    content = json.dumps([VERSION, weights, run.image_size, run.copy_side, run.views])
    return hashlib.blake2b(content.encode(), digest_size=8).hexdigest()


def _stamp(place: Path, name: str) -> dict[str, str]:
    """What a comparison with Keras holds for: these files, in this version of the runtime, on such a processor."""
    digests = {
        file.name: hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        for file in sorted(place.iterdir())
        if file.name != CHECK and file.is_file()
    }
    return {"version": _version(_kind(name)), "processor": _processor(), **digests}


def _version(kind: str) -> str:
    package = PACKAGES[kind]
    return f"{package} {metadata.version(package)}"


def _processor() -> str:
    """The processor's name and how many cores are here."""
    found = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        found = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{found}, {os.cpu_count()} cores"


def _read(file: Path) -> dict[str, Any]:
    """A JSON file's object; {} if it is missing or damaged."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


# ----------------------------------------------------------------------------------------------- which is fastest?


def fastest(run: "Run", sample: "Sequence[ImageFile]" = ()) -> str:
    """The fastest runtime in 32 bits that is installed and says what Keras says; measured once, kept in the run folder.

    Measured again when the network, the processor or a runtime's version is another.
    """
    names = installed()
    if not names:
        return "keras"
    file = run.folder / FOLDER / SPEEDS
    valid_for = {"key": _key(run), "processor": _processor(), **{name: _version(name) for name in names}}
    kept = _read(file)
    if kept.get("valid_for") == valid_for and kept.get("fastest") in ("keras", *names):
        return str(kept["fastest"])
    try:
        copies = cached_images_of(run, list(sample) or paintings_of_run(run))
    except UserError as error:
        print(f"note: {error}; using --runtime keras", flush=True)
        return "keras"
    copies = np.resize(copies, (32, *copies.shape[1:]))
    rates: dict[str, float] = {}
    for name in ("keras", *names):
        try:
            rates[name] = _rate(load(run, name, len(copies), sample), copies)
        except UserError as error:
            print(f"note: {error}", flush=True)
    best = max(rates, key=lambda name: rates[name])
    print("pictures a second: " + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items()), flush=True)
    try:
        file.parent.mkdir(exist_ok=True)
        write_json(file, {"fastest": best, "pictures_a_second": rates, "valid_for": valid_for})
    except OSError as error:  # a run folder of somebody else's: measured again next time
        print(f"note: {file} cannot be written ({error.strerror or error})", flush=True)
    return best


def _rate(forward: "Forward", copies: np.ndarray, rounds: int = 3) -> float:
    """Pictures a second: the best of a few rounds, after one that does not count."""
    forward(copies)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        forward(copies)
        times.append(time.perf_counter() - start)
    return len(copies) / min(times)
