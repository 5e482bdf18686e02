"""A packaged model in LiteRT without TensorFlow: its exported file with the weights left out, and where they belong.

`litert.npz` of a packaged model holds that file, which is small where its weights are zeros; for each gap the array of
`weights.npz` that belongs there, and what is done to it; and what Keras says of a few drawn pictures, with which a
runtime is compared before it is trusted. So the first label of a new user needs a second instead of TensorFlow's ten.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from painters_mtl.common.errors import UserError
from painters_mtl.runs.network_files import DAMAGE, read_network_files, write_arrays

if TYPE_CHECKING:
    from painters_mtl.runs.run import Run

TEMPLATE = "litert.npz"  # in the folder of a packaged model
DRAWN = 24  # pictures
LARGE = 1024  # numbers of an array that gets a gap; smaller ones stand in the file itself
AXES = ((3, 0, 1, 2), (1, 0), (0, 1, 2, 3))  # how LiteRT turns kernels: of convolutions, of Dense layers, not at all
EPSILON = 1e-3  # of the normalisations of EfficientNet-Lite0


@dataclass(frozen=True)
class Gap:
    """A place in the file, and the array that belongs there."""

    start: int  # the first of its bytes
    array: str  # by its name in weights.npz
    axes: Sequence[int]  # the order of its axes in the file
    normalisation: str = ""  # the beginning of the names of a BatchNormalization that is folded into it


def has_template(run: "Run") -> bool:
    """Whether LiteRT can open a run without an export by TensorFlow."""
    return run.packaged and (run.folder / TEMPLATE).is_file()


def fill_template(run: "Run") -> bytes:
    """The file that LiteRT opens, with the weights in it. Raises `UserError` where a part of it is damaged."""
    content, gaps, _ = _read(run)
    _, arrays = read_network_files(run.folder, run.network_digest)
    filled = bytearray(content)
    try:
        for gap in gaps:
            values = _as_in_file(arrays, gap).tobytes()
            if gap.start < 0 or gap.start + len(values) > len(filled):
                raise ValueError(f"{gap.array} has no place")
            filled[gap.start : gap.start + len(values)] = values
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _damaged(run, error) from error
    return bytes(filled)


def keras_on_drawn_pictures(run: "Run") -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Cached images of drawn pictures, and what Keras said of them where the package was made: {output: float32}."""
    return drawn_images(run), _read(run)[2]


def drawn_images(run: "Run", count: int = DRAWN) -> np.ndarray:
    """Pictures drawn by code, the same in every NumPy: uint8, as the run's network takes cached images.

    Coarse and fine blocks of colour over each other, from smooth to busy.
    """
    random, side, views = np.random.RandomState(0), run.cache_side, len(run.views)
    images = np.zeros((count * views, side, side, 3), np.int64)
    for k in range(len(images)):
        for cells, share in ((2, 4), (8, 2 + k % 3), (32, k % 5)):
            blocks = random.randint(0, 256, (cells, cells, 3))
            places = np.arange(side) * cells // side
            images[k] += share * blocks[places[:, None], places]
        images[k] //= 4 + (2 + k % 3) + k % 5
    shape = (count, side, side, 3) if views == 1 else (count, views, side, side, 3)
    return images.astype(np.uint8).reshape(shape)


def write_template(run: "Run", exported: bytes, outputs: Mapping[str, np.ndarray]) -> None:
    """Write the template into the folder of a packaged model that is being made.

    Args:
        exported: its LiteRT file, as `exporters.export_network` writes it, not calibrated.
        outputs: what Keras says of `drawn_images`.
    """
    _, arrays = read_network_files(run.folder)
    content, gaps = bytearray(exported), list(_gaps(exported, arrays))
    for gap in gaps:
        size = arrays[gap.array].size * 4
        content[gap.start : gap.start + size] = bytes(size)
    text = json.dumps([asdict(gap) for gap in gaps]).encode()
    held = {"file": np.frombuffer(bytes(content), np.uint8), "gaps": np.frombuffer(text, np.uint8)}
    write_arrays(run.folder / TEMPLATE, held | {f"output {name}": v for name, v in outputs.items()}, compressed=True)


def _read(run: "Run") -> tuple[bytes, list[Gap], dict[str, np.ndarray]]:
    """The file with gaps, the gaps, and Keras's outputs."""
    try:
        with np.load(io.BytesIO((run.folder / TEMPLATE).read_bytes()), allow_pickle=False) as stored:
            held = dict(stored)
        gaps = [Gap(**values) for values in json.loads(held["gaps"].tobytes())]
        outputs = {n.removeprefix("output "): held[n] for n in held if n.startswith("output ")}
        return held["file"].tobytes(), gaps, outputs
    except DAMAGE as error:
        raise _damaged(run, error) from error


def _damaged(run: "Run", error: Exception) -> UserError:
    return UserError(
        f"{run.folder / TEMPLATE} is damaged ({type(error).__name__}: {error}): get a sound copy of the folder"
    )


def _as_in_file(arrays: Mapping[str, np.ndarray], gap: Gap) -> np.ndarray:
    """The array as it stands in the file, float32."""
    kernel = arrays[gap.array]
    if gap.normalisation:
        gamma, variance = (arrays[f"{gap.normalisation}/{name}"] for name in ("gamma", "moving_variance"))
        scale = gamma / np.sqrt(variance + np.float32(EPSILON))
        depthwise = kernel.ndim == 4 and kernel.shape[-1] == 1 and kernel.shape[-2] == len(scale)
        kernel = kernel * (scale[:, None] if depthwise else scale)
    axes = gap.axes if len(gap.axes) == kernel.ndim else range(kernel.ndim)
    return np.ascontiguousarray(kernel.transpose(axes), "<f4")


def _gaps(exported: bytes, arrays: Mapping[str, np.ndarray]) -> Iterator[Gap]:
    """The places in an exported file where large arrays of the network stand, up to the last bits of a number.

    What is not recognised stays in the file: nothing depends on it but the size of the template.
    """
    places = _constants(exported)
    large = {name: array for name, array in arrays.items() if array.size >= LARGE and array.ndim > 1}
    for name, array in large.items():
        for gap in _ways(name, array, arrays):
            wanted = _as_in_file(arrays, gap).ravel()
            start = next((s for s, v in places.items() if v.size == wanted.size and _same(v, wanted)), None)
            if start is not None:
                del places[start]
                yield Gap(start, gap.array, gap.axes, gap.normalisation)
                break


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6 * float(np.abs(other).max())))


def _ways(name: str, array: np.ndarray, arrays: Mapping[str, np.ndarray]) -> Iterator[Gap]:
    """All that an exporter may have done to an array."""
    layer = name.rpartition("/")[0]
    norms = [n for n in (f"{layer}_bn", f"{layer.removesuffix('_conv')}_bn") if f"{n}/gamma" in arrays]
    for normalisation in (*norms, ""):
        for axes in AXES:
            if len(axes) == array.ndim:
                yield Gap(0, name, axes, normalisation)


def _constants(exported: bytes) -> dict[int, np.ndarray]:
    """The constants in a LiteRT file by their first byte: float32 (n,) each."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(exported)
    base = np.frombuffer(exported, np.uint8).__array_interface__["data"][0]
    constants = {}
    for k in range(model.BuffersLength()):
        data = model.Buffers(k).DataAsNumpy()
        if isinstance(data, np.ndarray) and data.size >= LARGE and data.size % 4 == 0:
            start = data.__array_interface__["data"][0] - base
            constants[start] = np.frombuffer(exported, "<f4", data.size // 4, start)
    return constants
