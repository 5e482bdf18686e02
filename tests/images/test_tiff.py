"""Every kind of TIFF gives the right pixels, or is refused by name."""

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
import pytest

from painters_mtl.common.errors import Unreadable
from painters_mtl.images.decode import decode
from painters_mtl.images.files import load_image

HEIGHT, WIDTH = 24, 30
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
COLOURS = np.stack([COLUMNS / (WIDTH - 1), ROWS / (HEIGHT - 1), 0.5 + 0.4 * np.sin((COLUMNS + ROWS) / 9)], -1)  # 0 to 1
GREY = COLOURS[..., :1]
ALPHA = np.where(COLUMNS < WIDTH // 2, 1.0, 0.4)[..., None]
FORMATS = {"u": 1, "i": 2, "f": 3}
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, LAB = 0, 1, 2, 5, 8


def tiff(
    pixels: np.ndarray,
    photometric: int,
    order: str = "<",
    separate: bool = False,
    compressed: bool = False,
    extra: int | None = None,
    **tags: int,
) -> bytes:
    """A TIFF by hand: `pixels` (height, width, channels) of any numpy dtype, in one strip for each plane.

    Args:
        extra: the kind of the last channel: 0 unspecified, 1 and 2 transparency, with colours multiplied by it or not.
        tags: further ones, t317=2.
    """
    channels = pixels.shape[-1]
    planes = [pixels[..., k] for k in range(channels)] if separate else [pixels]
    strips = [np.ascontiguousarray(p).astype(pixels.dtype.newbyteorder(order)).tobytes() for p in planes]
    strips = [zlib.compress(strip) if compressed else strip for strip in strips]
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    entries: dict[int, tuple[str, list[int]]] = {
        256: ("I", [pixels.shape[1]]),
        257: ("I", [pixels.shape[0]]),
        258: ("H", [8 * pixels.dtype.itemsize] * channels),
        259: ("H", [8 if compressed else 1]),
        262: ("H", [photometric]),
        273: ("I", starts[:-1]),
        277: ("H", [channels]),
        278: ("I", [pixels.shape[0]]),
        279: ("I", list(map(len, strips))),
        284: ("H", [2 if separate else 1]),
        339: ("H", [FORMATS[pixels.dtype.kind]] * channels),
        **({338: ("H", [extra])} if extra is not None else {}),
        **{int(name[1:]): ("H", [value]) for name, value in tags.items()},
    }
    directory, beyond = struct.pack(order + "H", len(entries)), b""
    values_at = starts[-1] + 2 + 12 * len(entries) + 4
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        head = struct.pack(order + "HHI", tag, {"H": 3, "I": 4}[kind], len(values))
        if len(packed) > 4:
            directory += head + struct.pack(order + "I", values_at + len(beyond))
            beyond += packed
        else:
            directory += head + packed.ljust(4, b"\0")
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", starts[-1])
    return header + b"".join(strips) + directory + bytes(4) + beyond


def levels(values: np.ndarray, dtype: str) -> np.ndarray:
    """Values from 0 to 1 as all the levels of a dtype; floats as they are."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return values.astype(kind)
    top = np.iinfo(kind).max
    return np.rint(values * float(top)).clip(0, float(top - top // 2**24)).astype(kind)  # a float has no 2**64 - 1


def pictures(dtype: str, separate: bool) -> list[tuple[str, np.ndarray, int, int | None, np.ndarray]]:
    """The same scene in every kind of colours: name, pixels, photometric interpretation, extra channel, expected."""
    on_white = COLOURS * ALPHA + 1 - ALPHA
    with_alpha = np.concatenate([COLOURS, ALPHA], -1)
    multiplied = np.concatenate([COLOURS * ALPHA, ALPHA], -1)
    inks = np.concatenate([1 - COLOURS, 0 * ALPHA], -1)
    kinds = [
        ("RGB", COLOURS, RGB, None, COLOURS),
        ("RGBA", with_alpha, RGB, 2, on_white),
        ("RGBA, multiplied", multiplied, RGB, 1, on_white),
        ("RGB and another", with_alpha, RGB, 0, COLOURS),
        ("CMYK", inks, CMYK, None, COLOURS),
        ("grey and alpha", np.concatenate([GREY, ALPHA], -1), BLACK_IS_ZERO, 2, GREY * ALPHA + 1 - ALPHA),
    ]
    if not separate:
        kinds += [("grey", GREY, BLACK_IS_ZERO, None, GREY), ("negative", 1 - GREY, WHITE_IS_ZERO, None, GREY)]
    return [(name, levels(values, dtype), *rest) for name, values, *rest in kinds]  # type: ignore[misc]


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8", "u8"])
def test_the_right_pixels_or_a_refusal_by_name(dtype: str) -> None:
    right = set()
    for order, separate, compressed in itertools.product("<>", (False, True), (False, True)):
        for name, pixels, photometric, extra, expected in pictures(dtype, separate):
            case = f"{name} {order} separate={separate} compressed={compressed}"
            try:
                found = decode(tiff(pixels, photometric, order, separate, compressed, extra)).pixels
            except Unreadable as refusal:
                assert refusal.reason == "unsupported format", f"{case}: {refusal}"
                bits = 8 * pixels.dtype.itemsize
                assert refusal.detail.startswith(f"a TIFF of {pixels.shape[-1]} x {bits} bits"), case
                assert ("in separate planes" in refusal.detail) == separate and "save it" in refusal.detail, case
                continue
            assert np.abs(found - 255 * expected).mean() < 1.5, case
            right.add((name, separate))
    every = {(name, separate) for separate in (False, True) for name, *_ in pictures(dtype, separate)}
    grey_and_alpha = {("grey and alpha", False), ("grey and alpha", True)}
    must_be_read = {
        "u1": every - grey_and_alpha | {("grey and alpha", False)},
        "u2": every - grey_and_alpha,
        "u4": {("grey", False)},
        "f4": {("grey", False)},
    }
    if int(PIL.__version__.split(".")[0]) < 13:  # older ones cannot read all of these, and then they are refused
        right |= {("RGB and another", False), ("RGB and another", True)}
    assert right >= must_be_read.get(dtype, set())


@pytest.mark.parametrize("dtype", ["u4", "i4", "f4"])
@pytest.mark.parametrize("predictor", [2, 3])
def test_predictors_that_pillow_reads_wrong_are_refused(dtype: str, predictor: int) -> None:
    with pytest.raises(Unreadable, match="a TIFF of 1 x 32 bits"):
        decode(tiff(levels(GREY, dtype), BLACK_IS_ZERO, compressed=True, t317=predictor))


def test_twelve_bits() -> None:
    values = np.arange(0, 4096, 2, dtype=np.uint16).reshape(32, 64)
    even, odd = values[:, ::2].astype(int), values[:, 1::2].astype(int)  # two of them in three bytes
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], -1).astype(np.uint8).reshape(32, 96, 1)
    data = tiff(packed, BLACK_IS_ZERO, t256=64, t258=12)
    np.testing.assert_allclose(decode(data).pixels[..., 0], values / 4095 * 255, atol=1)


def test_bits_below_a_byte() -> None:
    for bits, photometric in itertools.product((1, 2, 4), (WHITE_IS_ZERO, BLACK_IS_ZERO)):
        packed = np.random.default_rng(bits).integers(0, 256, (8, 6, 1), np.uint8)
        every_bit = np.unpackbits(packed[..., 0], axis=1).reshape(8, -1, bits)
        values = (every_bit * 2 ** np.arange(bits)[::-1]).sum(-1) / (2**bits - 1)
        expected = 255 * (1 - values if photometric == WHITE_IS_ZERO else values)
        data = tiff(packed, photometric, t256=48 // bits, t258=bits)
        np.testing.assert_allclose(decode(data).pixels[..., 0], expected, atol=1)


def test_lab_in_separate_planes_and_unknown_compressions_are_refused() -> None:
    neutral = np.zeros((4, 4, 3), np.uint8)  # L* a* b*: a* and b* have a sign
    neutral[..., 0] = 137
    assert np.ptp(decode(tiff(neutral, LAB)).pixels) <= 1
    with pytest.raises(Unreadable, match="CIE Lab, in separate planes"):
        decode(tiff(neutral, LAB, separate=True))
    with pytest.raises(Unreadable, match="compression 34712"):
        decode(tiff(neutral, RGB, t259=34712))


def test_cases(cases: Path) -> None:
    folder = cases / "tiff"
    reference = load_image(folder / "reference_8bit.tif").pixels.astype(int)
    np.testing.assert_allclose(load_image(folder / "p16rgb.tif").pixels, reference, atol=1)
    grey = load_image(folder / "c16gray_inv.tif").pixels
    assert np.corrcoef(grey[..., 0].ravel(), reference.mean(-1).ravel())[0, 1] > 0.95  # no negative
    for name, what in (("p16cmyk", "4 x 16 bits, CMYK, in separate planes"), ("rgb_float32", "3 x 32 bits, floating")):
        with pytest.raises(Unreadable, match=what) as refusal:
            load_image(folder / f"{name}.tif")
        assert refusal.value.reason == "unsupported format"
