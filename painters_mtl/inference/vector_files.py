"""Vectors as a table on disk: `.npz` or `.parquet`, a row for each picture."""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from painters_mtl.common.files import atomic_write

if TYPE_CHECKING:
    from painters_mtl.inference.embeddings import Vector, Vectors

GROUP = 1024  # rows that a Parquet file is written in at once


def write_vectors(vectors: "Vectors", file: Path) -> None:
    """Write `.parquet` or `.npz`, in constant memory but for the names and labels of an .npz; whole or not at all."""
    from painters_mtl.common.messages import ProgressBar

    rows = iter(ProgressBar(vectors, "writing", unit=" rows", delay=2))
    with atomic_write(file) as temporary:
        if file.suffix.lower() == ".parquet":
            _write_parquet(vectors, rows, temporary)
        else:
            _write_npz(vectors, rows, temporary)


def _columns(tasks: Iterable[str]) -> list[str]:
    """The names of all columns but the vector."""
    return ["path", *(name for task in tasks for name in (task, f"{task}_confidence")), "error"]


def _cells(vector: "Vector", tasks: Iterable[str]) -> dict[str, Any]:
    """A row, without the vector; None where there is no label."""
    labels = [cell for task in tasks for cell in vector.labels.get(task, (None, None))]
    return dict(zip(_columns(tasks), [str(vector.file), *labels, vector.error], strict=True))


def _write_parquet(vectors: "Vectors", rows: "Iterator[Vector]", file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from painters_mtl.inference.result_tables import in_groups

    tasks = list(vectors.run.tasks)
    names = _columns(tasks)
    kinds = [(name, pa.float32() if name.endswith("_confidence") else pa.string()) for name in names]
    schema = pa.schema(
        [*kinds, ("vector", pa.list_(pa.float32()))],
        metadata={"model": str(vectors.run.folder), "network": vectors.network},
    )
    with pq.ParquetWriter(file, schema, use_dictionary=tasks) as out:
        for group in in_groups(rows, GROUP):
            cells = [_cells(vector, tasks) for vector in group]
            for row in cells:  # Parquet's text is UTF-8, which a file's name need not be
                row["path"] = row["path"].encode("utf-8", "backslashreplace").decode()
            columns = {name: [row[name] for row in cells] for name in names}
            out.write_table(pa.table({**columns, "vector": [vector.features for vector in group]}, schema))


def _write_npz(vectors: "Vectors", rows: "Iterator[Vector]", file: Path) -> None:
    tasks = list(vectors.run.tasks)
    channels = next((len(vector.features) for vector in vectors if vector.features is not None), 0)
    unreadable = np.full(channels, np.nan, "<f4").tobytes()
    cells = []
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("vector.npy", "w", force_zip64=True) as out:  # one after the other: never all in memory
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(vectors), channels)}
            np.lib.format.write_array_header_1_0(out, header)
            for vector in rows:
                out.write(unreadable if vector.features is None else vector.features.tobytes())
                cells.append(_cells(vector, tasks))
        columns: dict[str, np.ndarray] = {"network": np.array(vectors.network)}
        for name in _columns(tasks):
            if name.endswith("_confidence"):
                columns[name] = np.array([row[name] for row in cells], np.float32)  # None becomes NaN
            else:
                columns[name] = np.array([row[name] or "" for row in cells], np.str_)
        for name, values in columns.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as out:
                np.lib.format.write_array(out, values, allow_pickle=False)
