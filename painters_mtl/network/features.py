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
from painters_mtl.common.iteration import in_batches
from painters_mtl.data.dataset import Dataset
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.graph import FEATURES
from painters_mtl.network.multitask import features_model

CHECKSUM = 16  # bytes


def cached_features(full: keras.Model, data: Dataset, image_size: int) -> np.ndarray:
    """Features of all paintings under the backbone as it stands: float32 (n, 2, channels); the second view is mirrored.

    They are kept beside the store, under a name made from the weights and the pictures, and read back from there.
    """
    encoder = features_model(full)
    seen = f"{image_size}|{len(encoder.inputs)}|{data.images.hashes.tobytes().hex()}"
    key = hashlib.blake2b(seen.encode(), digest_size=8)
    key.update(data.image_rows.tobytes())
    for weights in encoder.get_weights():
        key.update(weights.tobytes())
    file = data.images.folder / f"features-{key.hexdigest()}.npy"
    if (features := _kept(file)) is not None:
        return features
    with file_lock(file.with_suffix(".lock"), f"computing features in {data.images.folder}", wait=True):
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
    forward, channels = forward_function(encoder, image_size), encoder.output.shape[-1]
    features = np.empty((len(data.table), 2, channels), np.float32)
    unfinished = file.with_suffix(".part")
    with (
        unfinished.open("a+b") as part,
        tqdm(total=len(features), desc="computing features", unit=" paintings", mininterval=0.5) as progress,
    ):
        part.seek(0)
        reading = True
        for rows in in_batches(len(features)):
            reading = reading and _read_batch(part, features[rows])
            if not reading:
                copies = data.images.pixels[data.image_rows[rows]]
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


class FeatureExtractor:
    """The features of whole paintings under a network whose shared part moves no more, each computed when first asked.

    Args:
        encoded: features of all paintings, float32 (n, views, channels), where they are known already.
    """

    def __init__(self, network: keras.Model, data: Dataset, image_size: int, encoded: np.ndarray | None = None) -> None:
        encoder = features_model(network)
        self.data, self.image_size, self.encoded = data, image_size, encoded
        self.encoder = keras.Model(encoder.input, {FEATURES: encoder.output})
        self.place = np.arange(len(data.table)) if encoded is not None else np.full(len(data.table), -1)

    def of(self, rows: np.ndarray, words: str) -> np.ndarray:
        """Float32 (len(rows), views, channels); `words` stand before the progress bar, where there is one."""
        missing = rows[self.place[rows] < 0]
        if len(missing):
            forward = forward_function(self.encoder, self.image_size)
            pixel_rows = self.data.image_rows[missing]
            new = predict_in_batches(forward, self.data.images.pixels, pixel_rows, words)[FEATURES][:, None]
            self.place[missing] = np.arange(len(missing)) + (0 if self.encoded is None else len(self.encoded))
            self.encoded = new if self.encoded is None else np.concatenate([self.encoded, new])
        assert self.encoded is not None
        return self.encoded[self.place[rows]]
