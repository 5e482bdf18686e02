"""Which paintings a network was trained on elsewhere, told by four bytes a painting.

A network that begins with the weights of another one must not be tested on works that trained the other: their figures
would be too good. So the bundled model keeps a code of each of its training works, 32 of the 64 bits of the
perceptual hash, and a painting whose code is near one of these counts as seen.

Codes are rough. Measured on two collections beside `duplicates.group_near_copies`, which compares pixels
(docs/experiments/own-painters.md): 94 to 97 % of the works in both are found, and 1.1 to 1.3 % of the others count as
seen too. To take a painting for seen that is not does no harm: it trains and tests nothing.
"""

import numpy as np

MOST_BITS = 2  # of 32 in which two codes of one painting may differ
MOST_SEEN = 0.2  # share of a collection; where more was seen, those that are left are too few to test on
# The bits of the lowest frequencies of the 8 x 8 of the hash, which change least from file to file; not the first one,
# which says how bright a picture is. From the left of the hash: bit 8 v + u has the frequencies u and v.
_V, _U = np.divmod(np.arange(64), 8)
BITS = np.lexsort((_V, _V + _U))[1:33]
BLOCK = 256  # paintings that are compared at once


def codes_of(hashes: np.ndarray) -> np.ndarray:
    """The codes of paintings: uint32 (n,), of their perceptual hashes (`fingerprints.phash`), uint64 (n,)."""
    bits = (np.asarray(hashes, np.uint64)[:, None] >> (63 - BITS).astype(np.uint64)) & np.uint64(1)
    return (bits << np.arange(32, dtype=np.uint64)).sum(axis=1, dtype=np.uint64).astype(np.uint32)


def seen_among(hashes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Which paintings have a code near one of `codes`: bool (n,)."""
    own = codes_of(hashes)
    if not len(codes):
        return np.zeros(len(own), bool)
    blocks = (own[start : start + BLOCK, None] for start in range(0, len(own), BLOCK))
    nearest = [np.bitwise_count(block ^ codes[None]).min(axis=1) for block in blocks]
    return np.concatenate([np.zeros(0, np.uint8), *nearest]) <= MOST_BITS


def with_seen_in_train(split: np.ndarray, groups: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The split with seen paintings, and their near-copies, in train and in no other part.

    Args:
        split: "train", "validation", "test" or "" for left out, (n,).
        groups: int (n,); near-copies share a number.
        seen: bool (n,).
    """
    moved = np.isin(groups, groups[seen]) & np.isin(split, ["validation", "test"])
    return np.where(moved, "train", split).astype(object)
