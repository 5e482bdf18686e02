"""Features of paintings under a backbone that stands still: computed once, kept in the cache, read by every run."""

import json
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from painters_mtl.common.iteration import in_batches
from painters_mtl.common.messages import ProgressBar, say
from painters_mtl.common.row_cache import RowCache, cache_key, content_checksum
from painters_mtl.data.dataset import Dataset
from painters_mtl.images import cache as image_cache
from painters_mtl.network.forward import forward_function, predict_in_batches
from painters_mtl.network.graph import FEATURES, model_nodes, producing_node
from painters_mtl.network.multitask import features_model

VERSION = 1  # of the rows; another one is another file
BATCH = 64  # paintings that go through the network at once
NOT_COMPUTED = ("name", "trainable", "dtype", "seed")  # settings of a layer that do not change what it puts out


def cached_features(model: keras.Model, data: Dataset, image_size: int, wanted: np.ndarray | None = None) -> np.ndarray:
    """Features of paintings under the backbone as it stands: float32 (n, 2, channels), whole and mirrored.

    They are kept in the cache folder, and read back from there whenever a network with the same layers and weights is
    shown the same pictures at the same size, by this run or another one. What was computed before a kill is kept.

    Raises `UserError` where the cache cannot be written.

    Args:
        wanted: int (n,), the rows of the data set that are asked for; without it all.
    """
    image_rows = data.image_rows if wanted is None else data.image_rows[wanted]
    encoder, contents = features_model(model), _contents(data.images, image_rows)
    cache = RowCache(data.images.folder.parent, _key(encoder, image_size, data.images.pixels.shape[1:]))
    if missing := cache.missing(contents):
        with cache.lock(f"computing features in {cache.file.parent}"):
            missing = cache.missing(missing)  # the process that was waited for may have computed them
            row_of = dict(zip(contents, image_rows.tolist(), strict=True))
            _compute(encoder, data, image_size, row_of, missing, cache)
        cache.trim()
    rows = cache.read(contents)
    if not missing:
        say(f"read the features of {len(rows):,} paintings from {cache.file}")
    return rows.reshape(len(rows), 2, -1)


def _compute(
    encoder: keras.Model, data: Dataset, image_size: int, row_of: dict[str, int], missing: list[str], cache: RowCache
) -> None:
    """Put the features of the contents that are missing into the cache, batch by batch.

    Args:
        row_of: where the cached image of a content is.
    """
    forward = forward_function(encoder, image_size)
    with ProgressBar(total=len(missing), desc="computing features", unit=" paintings") as progress:
        for batch in in_batches(len(missing), BATCH):
            names = missing[batch]
            # Always as many, so that a painting has the same features to the bit whichever others are beside it.
            images = data.images.pixels[np.resize([row_of[name] for name in names], BATCH)]
            both = [np.asarray(forward(flip))[: len(names)] for flip in (images, images[..., ::-1, :])]
            cache.write(dict(zip(names, np.concatenate(both, axis=1), strict=True)))
            progress.update(len(names))


def _contents(images: image_cache.ImageCache, image_rows: np.ndarray) -> list[str]:
    """A checksum of each painting's content: of its file, or of the cached image where that is not known."""
    of_files = dict(zip(images.rows.tolist(), images.contents.tolist(), strict=True))
    return [of_files.get(row) or content_checksum(images.pixels[row].tobytes()) for row in image_rows.tolist()]


def _key(encoder: keras.Model, image_size: int, image_shape: tuple[int, ...]) -> str:
    """What features depend on beside the pictures' content: layers, weights, and the sizes of what the network sees."""
    sizes = [VERSION, image_cache.VERSION, image_size, len(encoder.inputs), image_shape[-3:]]
    layers = [sizes, list(layer_configuration(encoder))]
    return cache_key(json.dumps(layers, sort_keys=True, default=str), *(w.tobytes() for w in encoder.get_weights()))


def layer_configuration(model: keras.Model) -> Iterator[list[Any]]:
    """What a network computes but for its weights: each call of a layer, with its kind, settings and inputs.

    Without names, which Keras numbers differently for each network of a process, and without what only matters for
    training: two networks that are built alike have the same configuration.
    """
    numbers: dict[int, int] = {}
    for number, node in enumerate(model_nodes(model)):
        numbers[id(node)] = number
        layer = node.operation
        sources = [numbers[id(producing_node(tensor))] for tensor in node.input_tensors]
        given = keras.tree.flatten([node.arguments.args, node.arguments.kwargs])
        constants = [repr(value) for value in given if not isinstance(value, keras.KerasTensor)]
        nested = isinstance(layer, keras.Model)
        settings = list(layer_configuration(layer)) if nested else _settings(layer)
        yield [type(layer).__name__, settings, sources, constants]


def _settings(layer: Any) -> dict[str, Any]:
    training = ("_initializer", "_regularizer", "_constraint")
    return {k: v for k, v in layer.get_config().items() if k not in NOT_COMPUTED and not k.endswith(training)}


class FeatureExtractor:
    """The features of whole paintings under a network whose shared part moves no more, each computed when first asked.

    Args:
        features: of all paintings, float32 (n, flips, channels), where they are known already.
    """

    def __init__(
        self, network: keras.Model, data: Dataset, image_size: int, features: np.ndarray | None = None
    ) -> None:
        self.data, self.image_size, self.features = data, image_size, features
        self.encoder = keras.Model(network.input, {FEATURES: features_model(network).output})
        self.place = np.arange(len(data.table)) if features is not None else np.full(len(data.table), -1)

    def of(self, rows: np.ndarray, title: str) -> np.ndarray:
        """Float32 (len(rows), flips, channels); `title` stands before the progress bar, where there is one."""
        missing = rows[self.place[rows] < 0]
        if len(missing):
            forward = forward_function(self.encoder, self.image_size)
            image_rows = self.data.image_rows[missing]
            new = predict_in_batches(forward, self.data.images.pixels, image_rows, title)[FEATURES][:, None]
            self.place[missing] = np.arange(len(missing)) + (0 if self.features is None else len(self.features))
            self.features = new if self.features is None else np.concatenate([self.features, new])
        assert self.features is not None
        return self.features[self.place[rows]]
