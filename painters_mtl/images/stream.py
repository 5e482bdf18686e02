"""A folder of pictures through a network: reading, decoding and computing overlap, in constant memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from painters_mtl.common import interrupts
from painters_mtl.common.errors import Unreadable
from painters_mtl.common.row_cache import content_checksum
from painters_mtl.images.decode import Picture, cached_image
from painters_mtl.images.files import ImageFile

BATCHES_AHEAD = 2  # one is decoded while another goes through the network and the one before it is written

Forward = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Cached images, uint8 (n, side, side, 3), of two inputs (n, 2, side, side, 3), to outputs {name: (n, ...)}."""
Decoded = tuple[Picture, np.ndarray, str] | Unreadable  # the picture, its cached image, the checksum of its bytes


@dataclass(frozen=True)
class ImageOutput:
    """What came of one picture: the network's outputs for it, {name: array}, or why it could not be read."""

    file: ImageFile
    outputs: dict[str, np.ndarray] | None
    picture: Picture | None = None  # as the network saw it, with the original's size
    error: str = ""
    content: str = ""  # checksum of the picture's bytes


def stream_images(
    files: Iterable[ImageFile],
    forward: Forward,
    side: int,
    inputs: Sequence[str] = ("whole",),
    batch_size: int = 32,
    threads: int = 0,
) -> Iterator[ImageOutput]:
    """The network's outputs for every picture, in order.

    Args:
        files: may be endless; some 100 are read ahead, so that memory does not grow with their number.
        forward: is called from one thread, with at most `batch_size` cached images, while the next ones are decoded.
        side: of the cached images, in pixels.
        inputs: of the network; see `decode.cached_image`.
        threads: how many pictures are decoded at once; 0: as many as there are cores.
    """

    def decode(file: ImageFile) -> Decoded:
        try:
            data = file.read()
            return *cached_image(data, side, inputs, str(file)), content_checksum(data)
        except Unreadable as refusal:
            return refusal

    workers = threads or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as decoders, ThreadPoolExecutor(1) as network:
        batches: deque[Future[list[ImageOutput]]] = deque()
        batch: list[tuple[ImageFile, Future[Decoded]]] = []
        try:
            for file in files:
                interrupts.stop_if_requested()
                batch.append((file, decoders.submit(decode, file)))
                if len(batch) == batch_size:
                    batches.append(network.submit(_outputs, batch, forward))
                    batch = []
                if len(batches) > BATCHES_AHEAD:
                    yield from batches.popleft().result()
            if batch:
                batches.append(network.submit(_outputs, batch, forward))
            while batches:
                yield from batches.popleft().result()
        finally:  # whoever stops reading does not wait for what was read ahead
            decoders.shutdown(wait=False, cancel_futures=True)
            network.shutdown(wait=False, cancel_futures=True)


def _outputs(batch: list[tuple[ImageFile, Future[Decoded]]], forward: Forward) -> list[ImageOutput]:
    """The outputs for a batch, once its pictures are decoded."""
    decoded = [(file, future.result()) for file, future in batch]
    images = [result[1] for _, result in decoded if isinstance(result, tuple)]
    outputs = {name: np.asarray(values) for name, values in forward(np.stack(images)).items()} if images else {}
    rows: list[ImageOutput] = []
    position = 0  # among the pictures that could be read
    for file, result in decoded:
        if isinstance(result, Unreadable):
            rows.append(ImageOutput(file, None, error=result.in_words))
        else:
            picture, _, content = result
            of_picture = {name: values[position] for name, values in outputs.items()}
            rows.append(ImageOutput(file, of_picture, picture, content=content))
            position += 1
    return rows
