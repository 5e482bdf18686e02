"""Bytes become pixels: RGB uint8 in the colours of sRGB, scaled while decoding.

The content decides what a file is, never its name. EXIF rotation is applied, transparency lies on white, 16 bits become
8, and an embedded ICC profile is applied (`color`). Of an animation the first frame is read. Of a cut or damaged file
what can be read is kept, and marked in `Picture.repaired`. Pillow's global switches (`LOAD_TRUNCATED_IMAGES`, warning
filters) are not touched per picture, so any number of threads and processes may read at once.
"""

import contextlib
import importlib
import io
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageChops

from painters_mtl.common.errors import Unreadable, shorten
from painters_mtl.images import color, tiff

MAX_PIXELS = 150_000_000  # the competition's largest have 100 million
LARGE = 25_000_000  # pixels; of such pictures one at a time is decoded, or a few threads of them would fill the memory
MIN_READ = 0.1  # share of the rows that must be there for a cut picture to count as repaired
STRIP = 4_000_000  # pixels of a large picture that are converted at a time
HEAD = 1024  # bytes that tell what a file is
DRAFT = 1.25  # a JPEG is decoded to at least this many times the size asked for, then resized

# What is read, as (what the content starts with, name of Pillow's plugin). No EPS, PDF or WMF: those run programs.
_FORMATS = (
    (re.compile(rb"\xff\xd8\xff"), "Jpeg"),  # an MPO is a JPEG with more behind it
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "Png"),
    (re.compile(rb"(?s)RIFF.{4}WEBP"), "WebP"),
    (re.compile(rb"GIF8[79]a"), "Gif"),
    (re.compile(rb"(?s)BM.{8}"), "Bmp"),
    (re.compile(rb"II[*+]\x00|MM\x00[*+]"), "Tiff"),
    (re.compile(rb"P[1-6]\s"), "Ppm"),
    (re.compile(rb"(?s).{4}ftyp(.{4}){0,12}?avi[fs]"), "Avif"),
)
_UNSUPPORTED = (
    (re.compile(rb"(?s).{4}ftyp(hei|hev|mif1|msf1)"), "HEIC"),
    (re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\x00\x00\x00\x0cJXL |\xff\x0a"), "JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"%PDF"), "PDF"),
    (re.compile(rb"%!PS"), "PostScript"),
    (re.compile(rb"(?si)\s*(<\?xml.{0,300})?<svg"), "SVG"),
)
_NOT_IMAGES = (
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer, not the picture (git lfs pull fetches it)"),
    (re.compile(rb"(?si)\s*(<!--.{0,300}-->\s*)?(<!doctype html|<html|<head)"), "a web page, not the picture"),
    (re.compile(rb"[\t-\r -~\x80-\xff]*\Z"), "a text file, not a picture"),
)
# EXIF orientation to the turn that displays it; the last four swap width and height.
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
_SWAPS = (5, 6, 7, 8)

_PLAIN = ("RGB", "L", "CMYK")  # Pillow's modes that are scaled as they are

_one_large = threading.Lock()

# What Pillow warns of (odd metadata, more than 89 megapixels) is either harmless here or becomes `Unreadable`.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    `pixels` is uint8 of shape (h, w, 3), read-only. `width` and `height` are those of the original as displayed (after
    EXIF rotation). `repaired` is "" or what was wrong ("truncated", "damaged"), `share` how much of the height could be
    read. `format` and `mode` are Pillow's names for what the file held ("JPEG", "CMYK").
    """

    pixels: np.ndarray
    width: int
    height: int
    repaired: str = ""
    share: float = 1.0
    format: str = ""
    mode: str = ""


class Opened(NamedTuple):
    """A file with its header read: Pillow's image, and of a TIFF how it holds its pixels."""

    image: Any
    layout: tiff.Layout | None = None


def decode(
    data: bytes, square: int | None = None, longest: int | None = None, max_pixels: int = MAX_PIXELS, path: str = ""
) -> Picture:
    """Bytes to RGB pixels.

    `square=N` squashes the whole picture to (N, N, 3): the network's view. `longest=N` keeps the aspect and makes the
    longer side at most N, never larger than it was. With neither the size is kept. `path` is for the error only.
    Raises `Unreadable` and nothing else, whatever the bytes are; more than `max_pixels` are refused before decoding.
    """
    if square is not None and longest is not None:
        raise ValueError(f"give square or longest, not both. Received: square={square}, longest={longest}")
    try:
        return _decode(data, square, longest, max_pixels)
    except Unreadable as error:
        raise Unreadable(error.reason, error.detail, path) from error
    except (MemoryError, Image.DecompressionBombError) as error:
        raise Unreadable("too large", shorten(error), path) from error
    except Exception as error:
        raise Unreadable(_fault(data, error), shorten(error), path) from error


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture at its own resolution: uint8 (h, w, 3) to (side, side, 3), where brushwork can be seen.

    A picture that is smaller than that is enlarged until its shorter side fits.
    """
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if shorter < side:
        left, top = (width - shorter) / 2, (height - shorter) / 2
        box = (left, top, left + shorter, top + shorter)
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC, box))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def cached_image(
    data: bytes, side: int, inputs: Sequence[str] = ("whole",), path: str = ""
) -> tuple[Picture, np.ndarray]:
    """A picture, and the cached image that a network's inputs are cut from: uint8 (side, side, 3).

    That is the whole picture squashed to a square. With the inputs whole and detail it is (2, side, side, 3): the
    second is the middle of the picture at its own resolution. Raises `Unreadable`.
    """
    picture = decode(data, square=side, path=path)
    if len(inputs) == 1:
        return picture, picture.pixels
    return picture, np.stack([picture.pixels, middle(decode(data, path=path).pixels, side)])


def kind(head: bytes) -> str:
    """The name of Pillow's plugin for what begins with these bytes. Raises `Unreadable` where there is none."""
    if name := next((name for magic, name in _FORMATS if magic.match(head)), ""):
        return name
    text = head.removeprefix(b"\xef\xbb\xbf")
    for magic, what in _UNSUPPORTED:
        if magic.match(text):
            raise Unreadable("unsupported format", what)
    for magic, what in _NOT_IMAGES:
        if magic.match(text):
            raise Unreadable("not an image", what)
    raise Unreadable("not an image", f"unknown content, starts with {head[:8].hex(' ')}")


def _decode(data: bytes, square: int | None, longest: int | None, max_pixels: int) -> Picture:
    opened = _open(data)
    width, height = opened.image.size
    if width * height > max_pixels:
        raise Unreadable("too large", f"{width} x {height} pixels, the limit is {max_pixels:,}")
    with _one_large if width * height > LARGE else contextlib.nullcontext():
        return _picture(data, opened, square, longest)


def _picture(data: bytes, opened: Opened, square: int | None, longest: int | None) -> Picture:
    """The picture from its opened file."""
    image = opened.image
    file_format, mode, (width, height) = image.format or "", image.mode, image.size
    target = None
    if square is not None:
        target = square, square
    elif longest is not None and max(width, height) > longest:
        target = tuple(max(1, round(side * longest / max(width, height))) for side in (width, height))
    repaired, share = "", 1.0
    try:
        box = _load(image, target)
    except Exception as error:
        if isinstance(error, MemoryError | Image.DecompressionBombError):
            raise
        try:
            image, box, repaired, share = _rescue(data, image, target, error)
        except Unreadable:
            if opened.layout and opened.layout.has_unknown_channel():  # older versions of Pillow cannot read these
                raise opened.layout.refusal() from error
            raise
    turn = _orientation(image)  # only now: Pillow turns a TIFF while loading it
    profile = image.info.get("icc_profile")
    if file_format == "JPEG" and mode == "CMYK" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes for granted that inks are stored inverted, as Adobe does
    if opened.layout:
        image = tiff.mend(image, opened.layout)
    if image.mode not in _PLAIN or image.has_transparency_data:
        if target and image.width * image.height > LARGE and image.mode not in ("I", "F", "LAB"):
            image, box = _reduced(image, target)
        else:
            image = _plain(image)
    if target:
        image = image.resize(target, Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    image = color.to_srgb(image, profile)
    if turn in _TURNS:
        image = image.transpose(Image.Transpose(_TURNS[turn]))
    if turn in _SWAPS:
        width, height = height, width
    return Picture(np.asarray(image), width, height, repaired, share, file_format, mode)


def _open(data: bytes) -> Opened:
    """The picture with its header read. Plugins are called directly: `Image.open` would warn, guess and run others."""
    if not data:
        raise Unreadable("empty", "0 bytes")
    name = kind(data[:HEAD])
    try:
        if name == "Tiff":
            return Opened(*tiff.open_tiff(data))
        plugin = getattr(importlib.import_module(f"PIL.{name}ImagePlugin"), f"{name}ImageFile")
        try:
            return Opened(plugin(io.BytesIO(data)))
        except Exception:
            if name != "Png":
                raise
            return Opened(plugin(io.BytesIO(_bare_png(data))))
    except (ImportError, NameError) as error:
        raise Unreadable("unsupported format", f"this Pillow is built without {name}") from error


def _load(image: Any, target: Any) -> tuple[float, float, float, float] | None:
    """Decode, a JPEG at the smallest of 1/1, 1/2, 1/4, 1/8 that leaves enough; returns what part of it to resize."""
    drafted = image.draft(None, tuple(int(DRAFT * side) for side in target)) if target else None
    image.load()
    return drafted[1] if drafted else None


def _rescue(data: bytes, image: Any, target: Any, error: Exception) -> tuple[Any, Any, str, float]:
    """What could be read of a picture that failed to load: it, the part to resize, the fault, the share of its rows."""
    box = None
    fault = _fault(data, error)
    if image.format == "JPEG":  # an end marker makes libjpeg deliver what it has: what is missing becomes grey
        ends = (len(data), data.rfind(b"\xff\xc4"), data.rfind(b"\xff\xda"))  # cut inside a table: leave that out
        for end in (end for end in ends if end > 0):
            with contextlib.suppress(Exception):
                image = _open(data[:end] + b"\xff\xd9").image
                box = _load(image, target)
                break
    image.tile = []  # do not decode again: what the decoder wrote so far stays, the rest is zero
    width, height = image.size
    upwards = image.format == "BMP"  # stored from its foot
    end = 0 if upwards else height - 1
    last = np.asarray(image.crop((width - 1, end, width, end + 1)))[0, 0]  # what is missing has one colour
    step = max(1, STRIP // width)
    strips = (np.asarray(image.crop((0, top, width, min(top + step, height)))) for top in range(0, height, step))
    read = np.concatenate([(values != last).reshape(len(values), -1).any(axis=1) for values in strips])
    rows = np.flatnonzero(read[:: -1 if upwards else 1])
    share = (rows[-1] + 1) / height if len(rows) else 0.0
    if image.format == "JPEG" and (abs(last.astype(int) - 128) > 1).any():  # no grey: it ends in plain paper
        share = 1.0
    if share < MIN_READ:
        raise Unreadable(fault, f"{share:.0%} of it could be read") from error
    return image, box, fault, float(share)


def _orientation(image: Any) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # garbage where the EXIF should be
        return 1


def _plain(image: Any) -> Any:
    """Any of Pillow's modes as one of `_PLAIN`, opaque: 16 bits scaled, Lab as RGB, transparency on white."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        image = Image.fromarray((values // 257 + (values % 257 > 128)).astype(np.uint8))  # round(v / 257)
    elif image.mode in ("I", "F"):
        image = Image.fromarray(_stretch(np.asarray(image), (65535,) if image.mode == "I" else (1, 255, 65535)))
    elif image.mode == "LAB":
        image = color.lab_to_rgb(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
        white = Image.new("L" if grey else "RGB", image.size, "white")
        white.paste(image.convert(white.mode), mask=image.getchannel("A"))
        return white
    return image if image.mode == "CMYK" else image.convert("L" if grey else "RGB")


def _reduced(image: Any, target: tuple[int, int]) -> tuple[Any, Any]:
    """`_plain` and the first half of `resize` with its reducing gap of 2, a strip at a time, for the memory's sake.

    Returns the reduced picture, and the part of it that the picture covers.
    """
    width, height = image.size
    across, down = (max(1, int(side / wanted / 2)) for side, wanted in zip(image.size, target, strict=True))
    small = None
    step = down * max(1, STRIP // (width * down))
    for top in range(0, height, step):
        strip = _plain(image.crop((0, top, width, min(top + step, height)))).reduce((across, down))
        small = small or Image.new(strip.mode, (-(-width // across), -(-height // down)))
        small.paste(strip, (0, top // down))
    return small, (0, 0, width / across, height / down)


def _stretch(values: np.ndarray, tops: tuple[int, ...]) -> np.ndarray:
    """Numbers to uint8: 0 to the first of `tops` that holds them all, or else from their least to their largest."""
    values = np.nan_to_num(values.astype(np.float64))
    low, high = values.min(), values.max()
    top = next((top for top in tops if high <= top), None) if low >= 0 else None
    low, span = (0, top) if top else (low, (high - low) or 1)
    return np.rint((values - low) * (255 / span)).astype(np.uint8)


def _bare_png(data: bytes) -> bytes:
    """A PNG without its metadata: text that is too long to unpack, or damaged, must not cost the picture."""
    kept, at = [data[:8]], 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _fault(data: bytes, error: Exception) -> str:
    """Whether a picture that failed to decode with `error` lacks its end or is damaged in another way."""
    message = str(error).lower()
    return "truncated" if _is_cut(data) or "is truncated" in message or "truncated data" in message else "damaged"


def _is_cut(data: bytes) -> bool:
    if data.startswith(b"\xff\xd8"):
        return b"\xff\xd9" not in data[-4096:]
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data[-4096:]
    if data.startswith(b"RIFF"):
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data.startswith(b"BM"):
        return int.from_bytes(data[2:6], "little") > len(data)
    if data.startswith((b"II*", b"MM\0*")):
        return int.from_bytes(data[4:8], "little" if data.startswith(b"II") else "big") >= len(data)
    return data.startswith(b"GIF8") and not data.rstrip(b"\0").endswith(b";")
