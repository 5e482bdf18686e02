"""What the names of files and folders say: a picture, a raw file beside one, what systems and this program keep."""

import re
from collections.abc import Collection
from pathlib import Path

from painters_mtl.common.files import read_if_sound

_RAW = r"dng|nef|cr2|cr3|arw|orf|rw2|raf|pef|srw"  # of cameras; some are TIFF files whose first picture is tiny
RAW_NAME = re.compile(rf".+\.({_RAW})", re.IGNORECASE | re.DOTALL)
EXTRA_NAME = re.compile(rf".+\.({_RAW}|psd|psb)", re.IGNORECASE | re.DOTALL)
PICTURE_ENDINGS = (  # a regular expression
    r"jpe?g|jpe|jfif|jif|mpo|a?png|webp|gif|bmp|dib|tiff?|avif|p[pgbn]m"
    rf"|heic|heif|jp2|jxl|psd|psb|{_RAW}"  # not read, but found, so that they are refused rather than overlooked
)
_PICTURE_NAME = re.compile(rf".+\.({PICTURE_ENDINGS})", re.IGNORECASE | re.DOTALL)
EXPLAINED = "-explained.png"  # how the names of `explain`'s sheets end: no paintings
# What systems keep in folders of pictures for themselves: thumbnails, what was deleted, states of an earlier time.
_SYSTEM_NAMES = frozenset(
    (
        *("@eadir", "#recycle", "#snapshot", "@tmp"),  # Synology
        *("@__thumb", "@recycle", "@recently-snapshot"),  # QNAP
        *("$recycle.bin", "recycler", "recycled", "system volume information", "thumbs.db"),  # Windows
        *("__macosx", "network trash folder", "temporary items", "thevolumesettingsfolder"),  # macOS
        *("lost+found", ".thumbnails"),  # Linux
        "__pycache__",
    )
)


def is_picture_name(name: str) -> bool:
    """Whether a file's name has the ending of a picture."""
    return _PICTURE_NAME.fullmatch(name) is not None


def is_passed_over(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's own: hidden, or kept by a system for itself."""
    return name.startswith((".", "__MACOSX")) or name.casefold() in _SYSTEM_NAMES


def is_run_folder(folder: str | Path, names: Collection[str]) -> bool:
    """Whether a folder, in which these names are, was written by a training or a study of this program."""
    if "config.json" not in names or not {"split.csv", "runs"}.intersection(names):
        return False
    return {"backbone", "image_size", "task_weights"} <= read_if_sound(Path(folder) / "config.json").keys()


def natural_key(text: str) -> str:
    """A key that sorts `2.jpg` before `10.jpg`: every number is led by its count of digits."""
    if not text:  # most pictures are in no zip
        return ""
    return re.sub("[0-9]+", lambda m: f"{len(m[0].lstrip('0')):05}{m[0]}", text)
