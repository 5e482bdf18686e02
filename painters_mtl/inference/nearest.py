"""Which pictures are most like one: by the cosine of the features that the tasks share.

A file of its own because it needs vectors only, from wherever they come; `pairs` takes its unit vectors from here too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from painters_mtl.common.interrupts import stop_if_requested
from painters_mtl.inference.embeddings import embeddings_file

if TYPE_CHECKING:
    from painters_mtl.inference.embeddings import Vector, Vectors


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


def nearest(queries: Sequence["Vector"], among: "Vectors", count: int = 12) -> list[list[Match]]:
    """For each query the `count` pictures with the largest cosines, the largest first; fewer where there are fewer.

    Left out are pictures that could not be read and the query's own file, also where it is reached by another path. The
    vectors are read one after the other: memory does not grow with them, but for one float a picture and query.

    Args:
        queries: pictures that could be read.
    """
    directions = unit_vectors(np.stack([query.features for query in queries if query.features is not None]))
    cosines = np.full((len(queries), len(among)), -np.inf, np.float32)
    for k, vector in enumerate(among):
        if vector.features is not None:
            cosines[:, k] = directions @ unit_vectors(vector.features)
    return [_largest(query, row, among, count) for query, row in zip(queries, cosines, strict=True)]


def _largest(query: "Vector", cosines: np.ndarray, among: "Vectors", count: int) -> list[Match]:
    stop_if_requested()
    own_file = embeddings_file(query.file)
    chosen: list[int] = []
    for k in np.argsort(-cosines, kind="stable"):
        if len(chosen) == count or cosines[k] == -np.inf:
            break
        if embeddings_file(among.files[k]) != own_file:
            chosen.append(int(k))
    return [Match(float(cosines[k]), vector) for k, vector in zip(chosen, among.at(chosen), strict=True)]
