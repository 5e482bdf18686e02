"""Which pictures are most like one: by the cosine of the features that the tasks share.

A file of its own because it needs vectors only, from wherever they come; `pairs` takes its unit vectors from here too.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from painters_mtl.common.files import atomic_write, remove_leftovers
from painters_mtl.common.interrupts import stop_if_requested
from painters_mtl.common.iteration import in_batches
from painters_mtl.common.row_cache import ARRAYS, cache_key
from painters_mtl.inference.embeddings import real_location

if TYPE_CHECKING:
    from painters_mtl.inference.embeddings import Vector, Vectors

BLOCK = 4096  # pictures that are compared at once
MANY = 2000  # pictures whose vectors are read quicker as one array than row by row
ROUNDING = 1e-5  # by so much a cosine of 32 bits may be off


@dataclass(frozen=True)
class Match:
    """A picture, and the cosine of its features with those of the one that was asked for."""

    cosine: float
    vector: "Vector"


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float64 of the same shape; a row of zeros stays."""
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


class LoadedVectors:
    """The vectors of many pictures at hand, for one question after the other: 10 kB a picture.

    Over 100,000 of them a question takes a fraction of a second (benchmarks/similar.py). To read them takes longer:
    those of `MANY` pictures or more are kept as one array beside the cache, and the next call maps it.
    """

    def __init__(self, vectors: "Vectors") -> None:
        """Read the features of all pictures; raises `UserError` where the cache was changed meanwhile."""
        self.vectors, self.files = vectors, vectors.files
        readable = [k for k, file in enumerate(self.files) if file not in vectors.errors]
        self.positions = np.array(readable, np.int64)
        self.directions = _directions(vectors, [vectors.contents[self.files[k]] for k in readable])

    def __len__(self) -> int:
        return len(self.files)

    def at(self, positions: Sequence[int]) -> "Iterator[Vector]":
        """As `Vectors.at`."""
        return self.vectors.at(positions)

    def feature_blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `Vectors.feature_blocks`, at length 1."""
        for block in in_batches(len(self.positions), BLOCK):
            yield self.positions[block], self.directions[block]


def _directions(vectors: "Vectors", contents: Sequence[str]) -> np.ndarray:
    """The features of the pictures that could be read at length 1, float32 (n, channels): mapped, or in memory.

    The name of the file is a checksum of the network and of the contents of all pictures, in order: for pictures that
    are others, or have changed, there is no file. That it is sound as a whole is not looked at: `nearest` computes what
    it answers from the cache's own rows.
    """
    if len(contents) < MANY:
        return np.concatenate([_unit(block) for _, block in vectors.feature_blocks()] or [np.zeros((0, 0), "<f4")])
    file = vectors.cache.file.with_name(ARRAYS.replace("*", cache_key("1", vectors.network, *contents)))
    with suppress(OSError, ValueError, EOFError):  # not there, or cut
        directions = np.load(file, mmap_mode="r", allow_pickle=False)
        if directions.ndim == 2 and len(directions) == len(contents) and directions.dtype == np.float32:
            os.utime(file)  # used now, for `trim`
            return np.asarray(directions)
    try:
        _write_directions(vectors, len(contents), file)
        vectors.cache.trim()
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except OSError:  # a full disk, a folder that cannot be written: it is done without
        return np.concatenate([_unit(block) for _, block in vectors.feature_blocks()])


def _write_directions(vectors: "Vectors", count: int, file: Path) -> None:
    """An .npy, whole or not at all, written in constant memory."""
    with vectors.cache.lock(f"writing {file.name}"):
        remove_leftovers(file.parent, ARRAYS)  # of a call that was killed: a gigabyte each
        with atomic_write(file) as temporary, temporary.open("wb") as out:
            for _, features in vectors.feature_blocks():
                if not out.tell():
                    header = {"descr": "<f4", "fortran_order": False, "shape": (count, features.shape[1])}
                    np.lib.format.write_array_header_1_0(out, header)
                out.write(_unit(features).tobytes())


def nearest(queries: Sequence["Vector"], among: "Vectors | LoadedVectors", count: int = 12) -> list[list[Match]]:
    """For each query the `count` pictures with the largest cosines, the largest first; fewer where there are fewer.

    Left out are pictures that could not be read and the query's own file, also where it is reached by another path. The
    vectors are read in blocks: memory does not grow with them, but for one float a picture and query. The search is
    exact: the best are compared once more in 64 bits; of equal ones the first comes first.

    Args:
        queries: pictures that could be read.
    """
    directions = unit_vectors(np.stack([query.features for query in queries if query.features is not None]))
    cosines = np.full((len(queries), len(among)), -np.inf, np.float32)
    for positions, features in among.feature_blocks():
        stop_if_requested()
        known = features if isinstance(among, LoadedVectors) else _unit(features)
        cosines[:, positions] = directions.astype(np.float32) @ known.T
    return [
        _largest(query, direction, row, among, count)
        for query, direction, row in zip(queries, directions, cosines, strict=True)
    ]


def _unit(features: np.ndarray) -> np.ndarray:
    """As `unit_vectors`, in 32 bits."""
    lengths = np.sqrt(np.einsum("nc,nc->n", features, features))[:, None]
    return features / np.where(lengths > 0, lengths, 1)


def _largest(
    query: "Vector", direction: np.ndarray, cosines: np.ndarray, among: "Vectors | LoadedVectors", count: int
) -> list[Match]:
    """The matches of one query.

    Args:
        direction: of the query, float64.
        cosines: with all pictures, float32 as they come from the blocks, which round them differently.
    """
    own_file, asked = real_location(query.file), count
    while True:
        asked = min(asked + 1, len(cosines))  # one more than wanted, for the query's own file
        least = np.partition(cosines, len(cosines) - asked)[len(cosines) - asked] if asked else np.inf
        chosen = np.flatnonzero((cosines >= least - ROUNDING) & (cosines > -np.inf))
        others = [k for k in chosen.tolist() if real_location(among.files[k]) != own_file]
        if len(others) >= count or asked == len(cosines):
            break
        asked *= 2  # it is reached by many paths
    matches = [
        Match(float(np.float32(direction @ unit_vectors(vector.features))), vector)
        for vector in among.at(others)
        if vector.features is not None
    ]
    order = sorted(range(len(matches)), key=lambda k: (-matches[k].cosine, others[k]))
    return [matches[k] for k in order[:count]]
