"""The one place where bytes become pixels: any file, folder or zip member to RGB uint8, scaled while decoding.

    for file in images.find("paintings/"):            # folders, files, zips read in place
        try:
            picture = images.load(file, square=224)   # picture.pixels: uint8, (224, 224, 3)
        except images.Unreadable as refusal:
            print(refusal)                            # one sentence: path, reason, detail

The content decides what a file is, never its name. EXIF rotation is applied, transparency lies on white, 16 bits become
8, CMYK goes through its ICC profile where it has one (the profiles of RGB pictures are ignored, as training pipelines
commonly do). Of an animation the first frame is read. Of a cut or damaged file what can be read is kept, and marked in
`Picture.repaired`. Pillow's global switches (`LOAD_TRUNCATED_IMAGES`, warning filters) are not touched per picture, so
any number of threads and processes may read at once.
"""

import contextlib
import errno
import importlib
import io
import os
import re
import stat
import threading
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from painters_mtl.errors import UserError

MAX_PIXELS = 150_000_000  # the competition's largest have 100 million
LARGE = 25_000_000  # pixels; of such pictures one at a time is decoded, or a few threads of them would fill the memory
MAX_BYTES = 1 << 30  # of one file or zip member
MIN_READ = 0.1  # share of the rows that must be there for a cut picture to count as repaired
STRIP = 4_000_000  # pixels of a large picture that are converted at a time
DRAFT = 1.25  # a JPEG is decoded to at least this many times the size asked for, then resized

REASONS = (
    "missing",
    "no permission",
    "read error",
    "empty",
    "not an image",
    "unsupported format",
    "truncated",
    "damaged",
    "too large",
    "damaged zip",
)
_PICTURE_NAME = re.compile(
    r".+\.(jpe?g|jpe|jfif|jif|mpo|a?png|webp|gif|bmp|dib|tiff?|avif|p[pgbn]m"
    r"|heic|heif|jp2|jxl)",  # not read, but found, so that they are refused rather than overlooked
    re.IGNORECASE | re.DOTALL,
)
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

_one_large = threading.Lock()

# What Pillow warns of (odd metadata, more than 89 megapixels) is either harmless here or becomes `Unreadable`.
warnings.filterwarnings("ignore", module=r"PIL\.")


def shown(path: str) -> str:
    """A path as it can be printed anywhere: on one line, bytes that are not UTF-8 as escapes."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class Unreadable(Exception):
    """A picture that is refused: `reason` is one of `REASONS`, `detail` says more, `path` is the file as shown."""

    def __init__(self, reason: str, detail: str = "", path: str = ""):
        super().__init__(reason, detail, path)  # all three, so that it can be pickled
        self.reason, self.detail, self.path = reason, detail, path

    def __str__(self) -> str:
        return f"{shown(self.path) or 'the picture'} cannot be read: {self.reason}" + (
            f" ({self.detail})" if self.detail else ""
        )


@dataclass(frozen=True, order=True)
class ImageFile:
    """A picture on disk (`member` is empty) or inside a zip at `path`. Only a name: nothing is opened before `read`."""

    path: str
    member: str = ""

    @classmethod
    def of(cls, path: "ImageFile | str | Path") -> "ImageFile":
        """From a path, or from what `str(ImageFile)` gave: `folder/train_1.zip/train_1/x.jpg` is a zip's member."""
        if isinstance(path, ImageFile):
            return path
        path = str(path)
        for end in (m.end() - 1 for m in re.finditer(r"\.zip/(?=.)", path, re.IGNORECASE)):
            if Path(path[:end]).is_file():
                return cls(path[:end], path[end + 1 :])
        return cls(path)

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else self.path

    @property
    def name(self) -> str:
        """The last part: `x.jpg`."""
        return str(self).rsplit("/", 1)[-1]

    def read(self) -> bytes:
        """The file's bytes. Raises `Unreadable`; never waits for a pipe or a device."""
        try:
            if self.member:
                return self._read_member()
            info = Path(self.path).stat()
            if stat.S_ISDIR(info.st_mode):
                if not os.access(self.path, os.R_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                raise Unreadable("not an image", "a folder", self.path)
            if not stat.S_ISREG(info.st_mode):
                raise Unreadable("not an image", "a pipe or a device", self.path)
            if _is_zip(self.path):
                _zip(self.path)
                raise Unreadable("not an image", "a zip: name one of its members", self.path)
            with Path(self.path).open("rb") as file:
                return _bounded(file, info.st_size, self)
        except OSError as error:
            raise Unreadable(_os_reason(error), error.strerror or "", str(self)) from error
        except ValueError as error:  # a NUL in the path
            raise Unreadable("missing", str(error), str(self)) from error

    def _read_member(self) -> bytes:
        try:
            archive, lock = _zip(self.path)
            with lock:  # the archive counts its open members
                info = archive.getinfo(self.member)
                member = archive.open(info)
            try:
                return _bounded(member, info.file_size, self)
            finally:
                with lock:
                    member.close()
        except (OSError, Unreadable):
            raise
        except KeyError as error:
            raise Unreadable("missing", "the zip has no such member", str(self)) from error
        except Exception as error:  # BadZipFile, zlib.error, EOFError, RuntimeError (password), NotImplementedError
            raise Unreadable("damaged zip", _short(error), str(self)) from error


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


def find(*roots: str | Path) -> list[ImageFile]:
    """All pictures under folders, in zips, or named directly; each root in turn, numbers in natural order, none twice.

    In folders and zips a picture is known by its suffix (any case); hidden files and macOS's resource forks
    are passed over, symbolic links are followed. What is named directly is taken whatever it is called; inside a zip
    (`a.zip/x.jpg`) that may also be a folder or a pattern. A folder or zip that cannot be opened is listed itself, so
    that `read` names the reason. Raises `UserError` for a missing root.
    """
    found: dict[ImageFile, None] = {}
    for root in map(ImageFile.of, roots):
        if not os.path.lexists(root.path):
            raise UserError(f"there is no file or folder {shown(root.path)}")
        if root.member:
            files = _inside(root)
        elif Path(root.path).is_dir():
            files = [f for path in _walk(root.path) for f in _members(path)]
        else:
            files = _members(root.path)
        found.update(dict.fromkeys(sorted(files, key=lambda f: (_natural(f.path), _natural(f.member), f))))
    return list(found)


def load(
    file: ImageFile | str | Path, square: int | None = None, longest: int | None = None, max_pixels: int = MAX_PIXELS
) -> Picture:
    """Read and `decode` one file. Raises `Unreadable`."""
    file = ImageFile.of(file)
    return decode(file.read(), square, longest, max_pixels, str(file))


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
        raise Unreadable("too large", _short(error), path) from error
    except Exception as error:
        raise Unreadable(_fault(data, error), _short(error), path) from error


def middle(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle of a picture at its own resolution: uint8 (h, w, 3) to (side, side, 3), where brushwork can be seen.

    A picture that is smaller than that is enlarged until its shorter side fits.
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    if short < side:
        left, top = (width - short) / 2, (height - short) / 2
        box = (left, top, left + short, top + short)
        return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC, box))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def phash(pixels: np.ndarray) -> int:
    """64-bit perceptual hash of an RGB array (uint8, (h, w, 3)): near-identical pictures differ in few bits."""
    import imagehash

    image = Image.fromarray(pixels)
    return int(str(imagehash.phash(image.reduce(max(1, min(image.size) // 128)))), 16)


def _decode(data: bytes, square: int | None, longest: int | None, max_pixels: int) -> Picture:
    image = _open(data)
    if image.width * image.height > max_pixels:
        raise Unreadable("too large", f"{image.width} x {image.height} pixels, the limit is {max_pixels:,}")
    with _one_large if image.width * image.height > LARGE else contextlib.nullcontext():
        return _picture(data, image, square, longest)


def _picture(data: bytes, image: Any, square: int | None, longest: int | None) -> Picture:
    """The picture from its opened file."""
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
        image, box, repaired, share = _rescue(data, image, target, error)
    turn = _orientation(image)  # only now: Pillow turns a TIFF while loading it
    icc = image.info.get("icc_profile")
    if file_format == "JPEG" and mode == "CMYK" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes for granted that inks are stored inverted, as Adobe does
    if image.mode not in ("RGB", "L", "CMYK") or image.has_transparency_data:
        if target and image.width * image.height > LARGE and image.mode not in ("I", "F", "LAB"):
            image, box = _reduced_to_rgb(image, icc, target)
        else:
            image = _to_rgb(image, icc)
    if target:
        image = image.resize(target, Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    if image.mode != "RGB":
        image = _to_rgb(image, icc)
    if turn in _TURNS:
        image = image.transpose(Image.Transpose(_TURNS[turn]))
    if turn in _SWAPS:
        width, height = height, width
    return Picture(np.asarray(image), width, height, repaired, share, file_format, mode)


def _open(data: bytes) -> Any:
    """The picture with its header read. Plugins are called directly: `Image.open` would warn, guess and run others."""
    if not data:
        raise Unreadable("empty", "0 bytes")
    name = next((name for magic, name in _FORMATS if magic.match(data)), None)
    if name is None:
        head = data[:1024].removeprefix(b"\xef\xbb\xbf")
        for magic, what in _UNSUPPORTED:
            if magic.match(head):
                raise Unreadable("unsupported format", what)
        for magic, what in _NOT_IMAGES:
            if magic.match(head):
                raise Unreadable("not an image", what)
        raise Unreadable("not an image", f"unknown content, starts with {data[:8].hex(' ')}")
    try:
        plugin = getattr(importlib.import_module(f"PIL.{name}ImagePlugin"), f"{name}ImageFile")
        try:
            return plugin(io.BytesIO(data))
        except Exception:
            if name != "Png":
                raise
            return plugin(io.BytesIO(_bare_png(data)))
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
                image = _open(data[:end] + b"\xff\xd9")
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


def _to_rgb(image: Any, icc: bytes | None) -> Any:
    """Any of Pillow's modes to RGB: 16 bits scaled, inks and Lab by colour management, transparency on white."""
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        image = Image.fromarray((values // 257 + (values % 257 > 128)).astype(np.uint8))  # round(v / 257)
    elif image.mode in ("I", "F"):
        image = Image.fromarray(_stretch(np.asarray(image), (65535,) if image.mode == "I" else (1, 255, 65535)))
    elif image.mode == "LAB" or (image.mode == "CMYK" and icc):
        with contextlib.suppress(Exception):  # a damaged profile, or no LittleCMS: the plain conversion
            from PIL import ImageCms

            lab = image.mode == "LAB"
            source = ImageCms.createProfile("LAB") if lab else ImageCms.ImageCmsProfile(io.BytesIO(icc or b""))
            srgb = ImageCms.createProfile("sRGB")
            small = image.width * image.height < 200_000  # then a table of all colours costs more than it saves
            flags = ImageCms.Flags.NOOPTIMIZE if small else ImageCms.Flags.NONE
            return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB", flags=flags)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image.convert("RGB"), mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _reduced_to_rgb(image: Any, icc: bytes | None, target: tuple[int, int]) -> tuple[Any, Any]:
    """`_to_rgb` and the first half of `resize` with its reducing gap of 2, a strip at a time, for the memory's sake.

    Returns the reduced picture, and the part of it that the picture covers.
    """
    width, height = image.size
    across, down = (max(1, int(side / wanted / 2)) for side, wanted in zip(image.size, target, strict=True))
    small = Image.new("RGB", (-(-width // across), -(-height // down)))
    step = down * max(1, STRIP // (width * down))
    for top in range(0, height, step):
        strip = _to_rgb(image.crop((0, top, width, min(top + step, height))), icc)
        small.paste(strip.reduce((across, down)), (0, top // down))
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


def _walk(folder: str) -> Iterator[str]:
    """Paths of pictures and zips under a folder; a sub-folder that cannot be listed is given itself."""
    waiting, seen = [folder], set()
    while waiting:
        here = waiting.pop()
        try:
            info = Path(here).stat()
            if (info.st_dev, info.st_ino) in seen:  # a loop of links
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda e: e.name, reverse=True)
        except OSError:
            yield here
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            if _is_folder(entry):
                waiting.append(entry.path)
            elif _is_picture(entry.name) or _is_zip(entry.name):
                yield entry.path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link into what may not be entered, or in a circle
        return False


def _members(path: str) -> list[ImageFile]:
    """A file itself, or the pictures in a zip; a zip that cannot be opened stands for itself."""
    try:
        names = _zip(path)[0].namelist() if _is_zip(path) and Path(path).is_file() else None
    except (OSError, Unreadable):
        names = None
    if names is None:
        return [ImageFile(path)]
    parts = ((name, name.split("/")) for name in dict.fromkeys(names))
    hidden = (".", "__MACOSX")
    return [ImageFile(path, n) for n, p in parts if _is_picture(p[-1]) and not any(q.startswith(hidden) for q in p)]


def _inside(root: ImageFile) -> list[ImageFile]:
    """What a member of a zip, a folder in it or a pattern (`a.zip/in/*.png`) names. Raises `UserError` for nothing."""
    try:
        names = _zip(root.path)[0].namelist()
    except (OSError, Unreadable):
        return [root]  # reading it tells why
    if root.member in names and not root.member.endswith("/"):
        return [root]
    folder = root.member.rstrip("/") + "/"
    found = [f for f in _members(root.path) if f.member.startswith(folder) or fnmatchcase(f.member, root.member)]
    if not found:
        raise UserError(f"{shown(root.path)} holds no picture {shown(root.member)}")
    return found


def _zip(path: str) -> tuple[zipfile.ZipFile, threading.Lock]:
    """The zip, opened once for each process. Raises `OSError` or `Unreadable`."""
    info = Path(path).stat()
    try:
        return _open_zip(path, os.getpid(), info.st_mtime_ns, info.st_size)
    except OSError:
        raise
    except Exception as error:
        raise Unreadable("damaged zip", _short(error), path) from error


@lru_cache(maxsize=32)
def _open_zip(path: str, pid: int, *stamp: int) -> tuple[zipfile.ZipFile, threading.Lock]:
    # `pid`: a forked child shares the position of its parent's file; `stamp`: a zip that was replaced is read anew.
    return zipfile.ZipFile(path), threading.Lock()


def _bounded(file: Any, size: int, name: ImageFile) -> bytes:
    if size > MAX_BYTES:
        raise Unreadable("too large", f"{size:,} bytes, the limit is {MAX_BYTES:,}", str(name))
    return file.read(size)  # no more: of a zip's member the size is what it says of itself


def _os_reason(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "no permission"
    gone = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
    return "missing" if error.errno in gone else "read error"


def _is_picture(name: str) -> bool:
    return _PICTURE_NAME.fullmatch(name) is not None


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _natural(text: str) -> str:
    """A key that sorts `2.jpg` before `10.jpg`: every number is led by its count of digits."""
    return re.sub("[0-9]+", lambda m: f"{len(m[0].lstrip('0')):05}{m[0]}", text)


def _short(error: BaseException) -> str:
    """An error of a library in at most 100 characters."""
    text = shown(str(error)) or type(error).__name__
    return text if len(text) <= 100 else text[:99] + "…"
