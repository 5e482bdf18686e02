"""Fetch the competition "Painter by Numbers" from Kaggle: its tables, or also its images.

    painters-mtl download                             # the tables, into data/painter-by-numbers
    painters-mtl download --images --yes              # and the images: about 40 GB
    painters-mtl download --output /big/paintings --images

It takes a Kaggle account that accepted the competition's rules, its key (KAGGLE_API_TOKEN, KAGGLE_USERNAME and
KAGGLE_KEY, or ~/.kaggle/kaggle.json), and pip install "painters-mtl[kaggle]". Files that are there already and whole
are not fetched again, and a file that broke off goes on when the command is given again. Zips are not unpacked: the
catalogue reads them in place, and takes the pictures of replacements_for_corrupted_files.zip instead of the corrupt
ones of the same names.

Exit status: 0 all is there, 1 you declined, 2 not available (the reason is printed), 130 interrupted.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from painters_mtl.common import command_line
from painters_mtl.common.errors import UserError
from painters_mtl.common.files import file_lock
from painters_mtl.common.messages import say
from painters_mtl.data.kaggle import (
    COMPETITION,
    PARTIAL,
    bytes_begun,
    fetch_whole,
    files_to_fetch,
    is_whole,
    listed_files,
)
from painters_mtl.data.locations import KAGGLE_FOLDERS, LOCAL_FOLDER

ASK_ABOVE = 1e9  # bytes


@dataclass
class Settings:
    """What to fetch, and where to."""

    output: Path = LOCAL_FOLDER
    """the folder for the competition's files; train finds the default by itself"""
    images: bool = False
    """also fetch the images: about 40 GB"""
    yes: bool = False
    """do not ask before more than a gigabyte is fetched"""


def download(settings: Settings) -> int:
    """The verb."""
    if mounted := next((f for f in KAGGLE_FOLDERS if f.is_dir() and any(f.iterdir())), None):
        print(f"the data is there already: {mounted}, where train finds it by itself")
        return 0
    if "KAGGLE_KERNEL_RUN_TYPE" in os.environ:
        raise UserError(
            f"this Kaggle notebook lacks the competition: Add Input, {COMPETITION}, attaches it without a download"
        )
    output = settings.output.expanduser()
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; give the folder to put the files into")
    sizes = files_to_fetch(listed_files(), settings.images)
    missing = {name: size for name, size in sizes.items() if not is_whole(output, name, size)}
    for name in sizes:
        if name not in missing:
            say(f"{name} is there already")
    if missing:
        output.mkdir(parents=True, exist_ok=True)
        if not _may_be_fetched(output, missing, settings.yes):
            print("nothing was fetched")
            return 1
        with file_lock(output / ".download.lock", f"fetching files into {output}", wait=False):
            for number, (name, size) in enumerate(missing.items(), 1):
                say(f"{name}, {_gigabytes(size)} ({number} of {len(missing)})")
                fetch_whole(name, output)
            shutil.rmtree(output / PARTIAL, ignore_errors=True)
    if settings.images:
        print(f"all is in {output}; next: painters-mtl train --data {shlex.quote(str(output))}")
    else:
        print(f"the tables are in {output}; fetch the paintings too with --images (without them, train uses the demo)")
    return 0


def _may_be_fetched(output: Path, missing: Mapping[str, int], yes: bool) -> bool:
    """Say what is needed, refuse what has no room, and ask before much is fetched."""
    begun = sum(bytes_begun(output, name) for name in missing)
    unpacked = max((size for name, size in missing.items() if not name.endswith(".zip")), default=0)
    total = sum(missing.values())
    needed, free = max(total - begun, 0) + unpacked, shutil.disk_usage(output).free  # a table may come zipped
    done = f", {_gigabytes(begun)} of it done" if begun else ""
    print(f"to fetch: {len(missing)} files, {_gigabytes(total)}{done}")
    print(f"{output} needs {_gigabytes(needed)} and has {_gigabytes(free)} free (zips stay packed)", flush=True)
    if needed > free:
        raise UserError(
            f"{output} has {_gigabytes(free)} free and needs {_gigabytes(needed)}: make room, or give an --output on a "
            "larger disk"
        )
    if yes or total - begun <= ASK_ABOVE:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{_gigabytes(total - begun)} are to be fetched: add --yes if that is wanted")
    try:
        return input("go on? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return command_line.run_command(Settings, download, argv, "painters-mtl download", __doc__)


if __name__ == "__main__":
    sys.exit(main())
