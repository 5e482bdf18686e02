"""Features of a backbone that stands still: computed once, kept beside the store, read by every run.

While they are computed, each batch is appended to a file that ends in `.part`, behind its checksum: a run that was
killed goes on behind the last batch that came to the disk whole.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import BinaryIO

import keras
import numpy as np
from tqdm import tqdm

from painters_mtl.common.files import atomic_write, file_lock, remove_leftovers
from painters_mtl.data.dataset import Dataset
from painters_mtl.network.multitask import features_model
from painters_mtl.training import batches

CHECKSUM = 16  # bytes


def cached_features(full: keras.Model, data: Dataset, image_size: int) -> np.ndarray:
    """Features of all paintings under the backbone as it stands: float32 (n, 2, channels); the second view is mirrored.

    They are kept beside the store, under a name made from the weights and the pictures, and read back from there.
    """
    encoder = features_model(full)
    seen = f"{image_size}|{len(encoder.inputs)}|{data.store.hashes.tobytes().hex()}"
    key = hashlib.blake2b(seen.encode(), digest_size=8)
    key.update(data.pixel_rows.tobytes())
    for weights in encoder.get_weights():
        key.update(weights.tobytes())
    file = data.store.folder / f"features-{key.hexdigest()}.npy"
    if (features := _kept(file)) is not None:
        return features
    with file_lock(file.with_suffix(".lock"), f"computing features in {data.store.folder}", wait=True):
        features = _kept(file)  # the one that was waited for has made them
        return _compute(encoder, data, image_size, file) if features is None else features


def _kept(file: Path) -> np.ndarray | None:
    """What the file holds; None where there is none, or a damaged one."""
    with contextlib.suppress(FileNotFoundError, ValueError, EOFError):
        features = np.load(file, allow_pickle=False)
        print(f"read the features of {len(features):,} paintings from {file}", flush=True)
        return features
    return None


def _compute(encoder: keras.Model, data: Dataset, image_size: int, file: Path) -> np.ndarray:
    forward, channels = batches.inference(encoder, image_size), encoder.output.shape[-1]
    features = np.empty((len(data.table), 2, channels), np.float32)
    unfinished = file.with_suffix(".part")
    with (
        unfinished.open("a+b") as part,
        tqdm(total=len(features), desc="computing features", unit=" paintings", mininterval=0.5) as progress,
    ):
        part.seek(0)
        reading = True
        for rows in batches.in_batches(len(features)):
            reading = reading and _read_batch(part, features[rows])
            if not reading:
                copies = data.store.pixels[data.pixel_rows[rows]]
                both = [np.asarray(forward(view)) for view in (copies, copies[..., ::-1, :])]
                features[rows] = np.stack(both, axis=1)
                content = features[rows].tobytes()
                part.write(hashlib.blake2b(content, digest_size=CHECKSUM).digest() + content)
                part.flush()
            progress.update(rows.stop - rows.start)
    remove_leftovers(file.parent, file.name)
    with atomic_write(file) as temporary:
        np.save(temporary, features)
    unfinished.unlink()
    return features


def _read_batch(part: BinaryIO, features: np.ndarray) -> bool:
    """Fill `features` with the next batch of the file; where that is torn, cut it off and return False."""
    start = part.tell()
    checksum, content = part.read(CHECKSUM), part.read(features.nbytes)
    if len(content) == features.nbytes and hashlib.blake2b(content, digest_size=CHECKSUM).digest() == checksum:
        features[:] = np.frombuffer(content, np.float32).reshape(features.shape)
        return True
    part.truncate(start)
    return False
