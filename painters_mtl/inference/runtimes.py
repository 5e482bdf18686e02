"""Run a network: in Keras, or an exported one in TensorFlow, OpenVINO, LiteRT or ONNX Runtime.

forward = open_exported("openvino", folder / FILES["openvino"], batch_size=32)
outputs = forward(images)    # {"painter": float32 (n, classes), ...}
"""

import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common.errors import UserError, first_line
from painters_mtl.common.lazy_imports import import_extra, import_tensorflow, quiet

if TYPE_CHECKING:
    from painters_mtl.images.stream import Forward
    from painters_mtl.runs.run import Run

EXACT = ("litert", "openvino")  # runtimes in 32 bits, beside Keras; the one that is ready sooner first
FILES = {
    "saved_model": "saved_model",
    "litert": "model.tflite",
    "litert-int8": "model.tflite",
    "onnx": "model.onnx",
    "openvino": "model.xml",
}
PACKAGES = {"openvino": "openvino", "litert": "ai_edge_litert", "onnx": "onnxruntime", "saved_model": "tensorflow"}
SLICE = 8  # pictures of 120 x 120 that go through one core at once; of larger ones fewer, for they leave its cache

Outputs = dict[str, np.ndarray]


def keras_forward(run: "Run", compiled: bool = True) -> "Forward":
    """The network in Keras, as validation and test saw it."""
    import_tensorflow()
    from painters_mtl.inference.open_network import open_network
    from painters_mtl.network.forward import forward_function

    function = forward_function(open_network(run), run.image_size, compiled)
    return lambda images: {name: values.numpy() for name, values in function(images).items()}


def installed() -> list[str]:
    """The runtimes in 32 bits, beside Keras, whose packages are here."""
    return [name for name in EXACT if importlib.util.find_spec(PACKAGES[name]) is not None]


def open_exported(file_format: str, file: Path, batch_size: int = 32, precision: str = "f32") -> "Forward":
    """An exported network in its own runtime. Raises `UserError` if it is missing or cannot be loaded.

    Args:
        file_format: a key of `FILES`.
        batch_size: how many pictures it will be given at once; 1 is tuned for the time of a single one.
        precision: "f32" or "bf16"; for OpenVINO only.
    """
    openers: dict[str, Callable[[], Forward]] = {
        "saved_model": lambda: _saved_model(file),
        "onnx": lambda: _onnx(file),
        "openvino": lambda: _openvino(file, batch_size, precision),
        "litert": lambda: _litert(file, batch_size),
        "litert-int8": lambda: _litert(file, batch_size),
    }
    try:
        return openers[file_format]()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{file} cannot be loaded ({first_line(error)}): export it again") from error


def named_inputs(images: np.ndarray) -> dict[str, np.ndarray]:
    """Cached images by the names of an exported network's inputs.

    Args:
        images: uint8 (n, side, side, 3), or (n, 2, side, side, 3) for a network with the inputs image and detail.
    """
    if images.ndim == 4:
        return {"image": images}
    return {"image": np.ascontiguousarray(images[:, 0]), "detail": np.ascontiguousarray(images[:, 1])}


# --------------------------------------------------------------------------------------------- slices of a batch


def _cores() -> int:
    """As many as TensorFlow may use: a worker of Ray's has a part of its machine."""
    return int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0) or os.cpu_count() or 1


def _slice_size(batch_size: int, side: int) -> int:
    return max(1, min(batch_size, SLICE, SLICE * 120**2 // side**2))


def _slices(images: np.ndarray, size: int) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of `size` pictures each; the last slice is filled up with its last picture."""
    for start in range(0, len(images), size):
        inputs = images[start : start + size]
        if len(inputs) < size:
            inputs = np.concatenate([inputs, np.repeat(inputs[-1:], size - len(inputs), axis=0)])
        yield named_inputs(inputs)


def _joined(slices: Sequence[Outputs], n: int) -> Outputs:
    """The outputs of all slices as one, without those of the filling."""
    return {name: np.concatenate([outputs[name] for outputs in slices])[:n] for name in slices[0]}


# --------------------------------------------------------------------------------------------- one function a runtime


def openvino_core() -> Any:
    """What OpenVINO reads and compiles networks with."""
    return import_extra("openvino", "openvino").Core()


def _openvino(file: Path, batch_size: int, precision: str) -> "Forward":
    """Batches as slices, one on each core: slices do not wait for each other as the threads of one operation do."""
    openvino = import_extra("openvino", "openvino")
    core = openvino_core()
    model = core.read_model(file)
    size = _slice_size(batch_size, model.inputs[0].partial_shape[1].get_length())
    model.reshape({put.any_name: [size, *list(put.partial_shape)[1:]] for put in model.inputs})
    hints = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY" if batch_size == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": _cores(),
    }
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", hints))
    names = [output.any_name for output in model.outputs]
    slices: dict[int, Outputs] = {}

    def keep(request: Any, number: int) -> None:
        slices[number] = {name: request.get_tensor(name).data.copy() for name in names}

    queue.set_callback(keep)

    def forward(images: np.ndarray) -> Outputs:
        slices.clear()
        for number, inputs in enumerate(_slices(images, size)):
            queue.start_async(inputs, number)
        queue.wait_all()
        return _joined([slices[number] for number in range(len(slices))], len(images))

    return forward


def _litert(file: Path, batch_size: int) -> "Forward":
    """As for OpenVINO; here each core has an interpreter of its own."""
    interpreter_class = import_extra("ai_edge_litert.interpreter", "litert").Interpreter
    cores = _cores()
    workers = 1 if batch_size == 1 else min(cores, 8)

    def make() -> Any:
        with quiet():
            interpreter = interpreter_class(str(file), num_threads=max(1, cores // workers))
            interpreter.allocate_tensors()
        return interpreter.get_signature_runner()

    idle = [make() for _ in range(workers)]
    side = int(idle[0].get_input_details()["image"]["shape"][1])
    size = _slice_size(batch_size, side)
    pool = ThreadPoolExecutor(workers)

    def one_slice(inputs: dict[str, np.ndarray]) -> Outputs:
        runner = idle.pop()
        try:
            return runner(**inputs)
        finally:
            idle.append(runner)

    return lambda images: _joined(list(pool.map(one_slice, _slices(images, size))), len(images))


def _onnx(file: Path) -> "Forward":
    session = import_extra("onnxruntime", "onnx").InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, named_inputs(images)), strict=True))


def _saved_model(file: Path) -> "Forward":
    import_tensorflow()
    import tensorflow as tf

    loaded = tf.saved_model.load(str(file))
    signature = loaded.signatures["serving_default"]

    def forward(images: np.ndarray) -> Outputs:
        tensors = {name: tf.constant(values) for name, values in named_inputs(images).items()}
        return {name: values.numpy() for name, values in signature(**tensors).items()}

    forward.loaded = loaded  # type: ignore[attr-defined]  # a signature does not keep alive what it belongs to
    return forward
