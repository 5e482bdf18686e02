"""Walking through rows in batches."""

from collections.abc import Iterator


def in_batches(n: int, batch_size: int = 64) -> Iterator[slice]:
    """Slices that cover 0 to n."""
    for start in range(0, n, batch_size):
        yield slice(start, min(start + batch_size, n))
