"""The pictures that a command line names: folders, zips, files, patterns, or a list on standard input."""

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from painters_mtl.common.errors import UserError
from painters_mtl.images import files as images


def images_from_arguments(paths: Iterable[str | Path]) -> list[images.ImageFile]:
    """The pictures that were meant: - is a list on standard input; a pattern that is no file is what fits it.

    What a list names and is not there becomes a row that says so; what the command line names must be there. Raises
    `UserError` where it is not, and where nothing fits a pattern.
    """
    found: dict[images.ImageFile, None] = {}
    for path in map(str, paths):
        if path == "-":
            lines = sys.stdin.buffer.read().split(b"\n")
            listed = [images.ImageFile.of(os.fsdecode(line.removesuffix(b"\r"))) for line in lines if line.strip()]
            for file in listed:
                there = not file.member and os.path.lexists(file.path)
                found.update(dict.fromkeys(images.find_images(file.path) if there else [file]))
        elif glob.has_magic(path) and not os.path.lexists(path) and not images.ImageFile.of(path).member:
            fitting = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - pathlib's wants a relative pattern
            if not fitting:
                raise UserError(f"no file fits the pattern {path}")
            found.update(dict.fromkeys(images.find_images(*fitting)))
        else:
            found.update(dict.fromkeys(images.find_images(path)))
    return list(found)
