"""Walking through rows in batches."""

from collections.abc import Iterator

from painters_mtl.common import interrupts


def in_batches(n: int, batch_size: int = 64) -> Iterator[slice]:
    """Slices that cover 0 to n; between two of them a command can be interrupted."""
    for start in range(0, n, batch_size):
        interrupts.stop_if_requested()
        yield slice(start, min(start + batch_size, n))
