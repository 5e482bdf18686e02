"""Where paintings are looked for: the folder that --data names, Kaggle's mount, data/painter-by-numbers, the demo."""

import os
from collections.abc import Sequence
from pathlib import Path

from painters_mtl.common.errors import UserError

LAYOUTS = (
    "the competition's tables (train_info.csv and/or all_data_info.csv) with its images, "
    "a labels.csv or other table (filename, painter, style, genre, title, date) with its images, "
    "or one sub-folder of images a painter, style or genre"
)
KAGGLE_INPUT = Path(os.environ.get("KAGGLE_CACHE_MOUNT_FOLDER", "/kaggle/input"))  # the variable is kagglehub's
KAGGLE_FOLDERS = (KAGGLE_INPUT / "painter-by-numbers", KAGGLE_INPUT / "competitions" / "painter-by-numbers")
LOCAL_FOLDER = Path("data/painter-by-numbers")
DEMO_FOLDER = Path("data/demo")  # where the demo is drawn, when it is asked for or nothing else is there
DEMO = Path("demo")  # the word behind --data that asks for it
COMPETITION_TABLES = ("all_data_info.csv", "train_info.csv")


def find_data(
    folder: Path | None,
    kaggle: Sequence[Path] = KAGGLE_FOLDERS,
    local: Path = LOCAL_FOLDER,
    option: str = "--data",
) -> Path | None:
    """The data folder: the given one, else Kaggle's, else data/painter-by-numbers, else None (the demo's turn).

    Of the last two, one without images is passed over: see `without_images`. Raises `UserError`, which names the
    `option`, when the given folder is not there, is no folder, is empty, or has the competition's tables alone.
    """
    if folder is None:
        return next((place for place in (*kaggle, local) if _is_filled(place) and has_images(place)), None)
    folder = Path(folder).expanduser()
    if folder == DEMO_FOLDER and _is_to_be_drawn(folder):
        return None
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; give {option} the folder that holds the paintings")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not a folder; give {option} the folder that holds it")
    try:
        empty = not any(folder.iterdir())
    except PermissionError:
        raise UserError(f"{folder} may not be read by you; change its permissions or choose another folder") from None
    if empty:
        raise UserError(f"{folder} is empty; give {option} a folder with {LAYOUTS}")
    if _has_competition_tables(folder) and not has_images(folder):
        raise UserError(f"{folder} has the competition's tables but no images: {way_to_images(folder)}")
    return folder


def resolve_demo(folder: Path | None) -> Path | None:
    """The demo's folder for the word demo, unless there is a folder that is called so; any other folder as it is."""
    return DEMO_FOLDER if folder == DEMO and not DEMO.is_dir() else folder


def without_images(kaggle: Sequence[Path] = KAGGLE_FOLDERS, local: Path = LOCAL_FOLDER) -> Path | None:
    """The folder that would be the data, had it images: `download` without --images leaves the tables alone."""
    return next((place for place in (*kaggle, local) if _is_filled(place) and not has_images(place)), None)


def way_to_images(folder: Path) -> str:
    """How to get the images that belong to the tables in a folder; the second half of a sentence."""
    place = "" if folder == LOCAL_FOLDER else f" --output {folder}"
    return f"painters-mtl download --images{place} fetches them (40 GB), or put into it those that you have"


def has_images(folder: Path) -> bool:
    """Whether a folder holds any image, in its sub-folders and zips too, but for the replacements of damaged files."""
    from painters_mtl.images.files import holds_images

    return holds_images(folder, besides="replacement")


def _is_filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _has_competition_tables(folder: Path) -> bool:
    return any((folder / f"{name}{ending}").is_file() for name in COMPETITION_TABLES for ending in ("", ".zip"))


def _is_to_be_drawn(folder: Path) -> bool:
    """Whether the demo's folder is not there, or holds a demo whose drawing was interrupted."""
    from painters_mtl.data.demo.collection import is_unfinished

    return not folder.exists() or is_unfinished(folder)
