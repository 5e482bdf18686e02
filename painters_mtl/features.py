"""Features of a backbone that stands still: computed once, kept beside the store, read by every run."""

import contextlib
import hashlib

import keras
import numpy as np
from tqdm import tqdm

from painters_mtl import pipeline
from painters_mtl.dataset import Dataset
from painters_mtl.files import whole
from painters_mtl.model import features_model


def encode(full: keras.Model, data: Dataset, image_size: int) -> np.ndarray:
    """Features of all paintings under the backbone as it stands: float32 (n, 2, channels); the second view is mirrored.

    They are kept beside the store, under a name made from the weights and the pictures, and read back from there.
    """
    encoder = features_model(full)
    key = hashlib.blake2b(f"{image_size}|{data.store.hashes.tobytes().hex()}".encode(), digest_size=8)
    key.update(data.pixel_rows.tobytes())
    for weights in encoder.get_weights():
        key.update(weights.tobytes())
    file = data.store.folder / f"features-{key.hexdigest()}.npy"
    if file.is_file():
        with contextlib.suppress(ValueError, EOFError):  # a damaged file is made again
            features = np.load(file, allow_pickle=False)
            print(f"read the features of {len(features):,} paintings from {file}", flush=True)
            return features
    forward = pipeline.inference(encoder, image_size)
    found = []
    with tqdm(total=len(data.table), desc="computing features", unit=" paintings", mininterval=0.5) as progress:
        for part in pipeline.in_batches(len(data.table)):
            copies = data.store.pixels[data.pixel_rows[part]]
            found.append(np.stack([np.asarray(forward(view)) for view in (copies, copies[..., ::-1, :])], axis=1))
            progress.update(len(copies))
    features = np.concatenate(found)
    with whole(file) as temporary:
        np.save(temporary, features)
    return features
