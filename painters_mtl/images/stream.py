"""A folder of pictures through a network: reading, decoding and computing overlap, in constant memory."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from painters_mtl.common.errors import Unreadable
from painters_mtl.common.row_cache import content_checksum
from painters_mtl.images import decode as decoding
from painters_mtl.images import files as images
from painters_mtl.runs.run import Run

Forward = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""Copies, uint8 (n, side, side, 3), of two views (n, 2, side, side, 3), to outputs {name: (n, ...)}."""


@dataclass(frozen=True)
class ImageOutput:
    """What came of one picture: the network's outputs for it, {name: array}, or why it could not be read."""

    file: images.ImageFile
    outputs: dict[str, np.ndarray] | None
    picture: decoding.Picture | None = None  # the small copy that the network saw, with the original's size
    error: str = ""
    content: str = ""  # checksum of the picture's bytes


def stream_images(
    files: Iterable[images.ImageFile], run: Run, forward: Forward, batch_size: int = 32, threads: int = 0
) -> Iterator[ImageOutput]:
    """Every picture, in order, with what `forward` says of it.

    Args:
        files: may be endless; some 100 are read ahead, so that memory does not grow with their number.
        forward: is called from one thread, with at most `batch_size` copies, while the next ones are decoded.
        threads: how many pictures are decoded at once; 0: as many as there are cores.
    """

    def decode(file: images.ImageFile) -> tuple[decoding.Picture, np.ndarray, str] | Unreadable:
        try:
            data = file.read()
            return *decoding.cached_image(data, run.copy_side, run.views, str(file)), content_checksum(data)
        except Unreadable as refusal:
            return refusal

    def finish(batch: list[tuple[images.ImageFile, Future]]) -> list[ImageOutput]:
        found = [(file, future.result()) for file, future in batch]
        copies = [result[1] for _, result in found if isinstance(result, tuple)]
        outputs = {name: np.asarray(v) for name, v in forward(np.stack(copies)).items()} if copies else {}
        seen, k = [], 0
        for file, result in found:
            if isinstance(result, Unreadable):
                detail = f" ({result.detail})" if result.detail else ""
                seen.append(ImageOutput(file, None, error=result.reason + detail))
            else:
                picture, _, content = result
                own = {name: values[k] for name, values in outputs.items()}
                seen.append(ImageOutput(file, own, picture, content=content))
                k += 1
        return seen

    workers = threads or os.cpu_count() or 1
    # One batch is decoded while another goes through the network and the one before it is written.
    with ThreadPoolExecutor(workers) as decoders, ThreadPoolExecutor(1) as network:
        batches: deque[Future] = deque()
        batch: list[tuple[images.ImageFile, Future]] = []
        try:
            for file in files:
                batch.append((file, decoders.submit(decode, file)))
                if len(batch) == batch_size:
                    batches.append(network.submit(finish, batch))
                    batch = []
                if len(batches) > 2:
                    yield from batches.popleft().result()
            if batch:
                batches.append(network.submit(finish, batch))
            while batches:
                yield from batches.popleft().result()
        finally:  # whoever stops reading does not wait for what was read ahead
            decoders.shutdown(wait=False, cancel_futures=True)
            network.shutdown(wait=False, cancel_futures=True)
