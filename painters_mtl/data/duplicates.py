"""Near-copies: paintings that show one picture, or are called the same by one painter, and must stay in one part.

groups = group_near_copies(table, hashes, thumbnails, contents)

A network that was trained on a painting is not tested by another photograph of it. Collections are full of those: the
same work under two names, a workshop's copy, an original and its detail.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from painters_mtl.data.values import clean
from painters_mtl.images.fingerprints import THUMBNAIL

# Bits of 64 in which the hashes of two near-copies may differ. The hash only names candidates; the pixels decide.
MOST_BITS, MOST_BITS_RELATED = 12, 14
SURE_BITS_RELATED = 8  # so near, and painter or title the same: one picture or composition, whatever the pixels
# Correlations of two thumbnails (see `similarity`) from which they show one picture. Chosen on 32,000 real paintings,
# by looking at the pairs on both sides: docs/experiments/near-copies-and-the-split.md.
LEAST_OVERALL, LEAST_DETAILS = 0.85, 0.65
LEAST_DETAILS_RELATED = 0.5  # where painter or title is the same: a copy is likely, and no harm is done if it is none
LARGEST_SHIFT = 2  # pixels of the thumbnail by which one photograph may be cut otherwise than another
MARGIN = 4  # pixels at the edges that say nothing about details: frames and backgrounds are alike in unlike pictures

# A title of these words alone says what kind of picture it is, or nothing: many works of one painter are called so.
_WORDS_THAT_SAY_NOTHING = """
    a an the of in de d la le un une der die das ein eine einer eines des il lo di el del
    untitled no not title titled known unknown unidentified identified detected without n na nan none null tbd
    sans titre ohne titel unbetitelt senza titolo sin titulo sem zonder bez tytulu nazvu uten tittel utan uden adsiz
    без названия назви 無題 无题
    work artwork painting picture image print etching drawing sketch study collage illustration composition abstract
    abstraction composizione komposition composicion
    self auto portrait portraits autoportrait autorretrato retrato ritratto autoritratto selbstbildnis selbstportrat
    bildnis zelfportret портрет автопортрет head bust figure half length
    man woman men women boy girl child lady gentleman person young old elderly seated standing reclining lying female
    male nude artist painter himself herself
    landscape landscapes seascape marina marine paysage landschaft paisaje paesaggio пейзаж
    still life lives nature morte stilleben stillleben natura morta naturaleza muerta bodegon натюрморт
    flowers interior
"""


def group_near_copies(
    table: pd.DataFrame,
    hashes: np.ndarray | None = None,
    thumbnails: np.ndarray | None = None,
    contents: np.ndarray | None = None,
) -> np.ndarray:
    """The number of each painting's copy group; the paintings of a group stay in one part of a split.

    Three things bind two paintings: painter and title are the same (but for case and white space; a title such as
    "Untitled" or "Landscape" does not count, see `is_distinctive_title`); the files are the same byte for byte; the
    pictures are near-copies. Candidates for the last are named by perceptual hashes and confirmed by their pixels, for
    hashes alone take one dark portrait for another, and chains of such errors once bound 93 works. Every bond is
    sure enough to be followed, so groups are the connected components.

    Args:
        table: a catalogue's table with n rows.
        hashes: uint64 of shape (n,), the 64-bit DCT hash ("pHash", `imagehash.phash`). Half the bits of such a hash
            are ones; hashes with under 24 or over 40 ones come from flat or empty pictures and are not compared.
        thumbnails: uint8 of shape (n, 32, 32), small grey pictures. Without them, no hash is followed.
        contents: str of shape (n,), checksums of the files; "" is not known.

    Returns int64 of shape (n,): the number of the group, in order of first appearance.
    """
    n = len(table)
    painters, titles = (_names(table, column) for column in ("painter", "title"))
    titles = np.array([title if is_distinctive_title(title) else "" for title in titles], object)
    works = [(p, t) if p and t else None for p, t in zip(painters, titles, strict=True)]
    bonds = [_equal(works), _equal([c or None for c in contents] if contents is not None else [])]
    if hashes is not None and thumbnails is not None:
        bonds.append(_near_copies(np.asarray(hashes, np.uint64), thumbnails, painters, titles))
    start, end = np.concatenate(bonds).T
    graph = coo_array((np.ones(len(start), bool), (start, end)), (n, n))
    return pd.factorize(connected_components(graph, directed=False)[1])[0].astype(np.int64)


def largest_group(table: pd.DataFrame, groups: np.ndarray) -> tuple[int, str]:
    """The number of paintings in the largest copy group, and what most of them are called: 'Nymphéas' by Monet."""
    if not len(groups):
        return 0, "nothing"
    rows = np.flatnonzero(groups == np.bincount(groups).argmax())
    painters, titles = (table[c].iloc[rows] if c in table else pd.Series("", rows) for c in ("painter", "title"))
    named = pd.Series(zip(titles, painters, strict=True))
    title, painter = named.value_counts().index[0]
    return len(rows), (repr(title) if title else "works without a title") + (f" by {painter}" if painter else "")


def is_distinctive_title(title: str) -> bool:
    """Whether a title tells a work from the painter's others: not "Untitled", "Self-portrait" or "Landscape".

    >>> [is_distinctive_title(title) for title in ("Sans titre", "Portrait of a Man", "[Untitled]")]
    [False, False, False]
    >>> [is_distinctive_title(title) for title in ("Untitled 7", "Guernica")]
    [True, True]
    """
    return not set(_words(title)) <= _SAY_NOTHING


def _words(text: str) -> list[str]:
    """The words of a text without case, accents and punctuation."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return re.findall(r"[^\W_]+", "".join(c for c in letters if not unicodedata.combining(c)))


_SAY_NOTHING = frozenset(_words(_WORDS_THAT_SAY_NOTHING))


def similarity(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How alike pairs of thumbnails are: two correlations, float64 of shape (k,), each the best of some shifts.

    The first is that of the grey values. Two dark portraits, or two ovals on white, reach 0.9 without being copies. So
    the second is that of the details: what is left of the middle when the local mean is taken away and the local
    contrast is made the same everywhere.

    Args:
        one, other: uint8 of shape (k, THUMBNAIL, THUMBNAIL).
    """
    one, other = one.astype(np.float32), other.astype(np.float32)
    middle = (slice(None), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    return _best_correlation(one, other), _best_correlation(_details(one)[middle], _details(other)[middle])


def _details(grey: np.ndarray) -> np.ndarray:
    """Local contrast normalisation (Jarrett et al.: What is the Best Multi-Stage Architecture for Object Recognition?,
    ICCV 2009), over neighbourhoods of about five pixels of a thumbnail."""
    width = (0, THUMBNAIL / 20, THUMBNAIL / 20)
    high = grey - gaussian_filter(grey, width)
    contrast = np.sqrt(np.maximum(gaussian_filter(high * high, width), 0))
    return high / (contrast + 4)  # of 255: the noise of a JPEG in an even ground is no detail


def _best_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The largest correlation of what overlaps when one is shifted by up to `LARGEST_SHIFT` pixels."""
    side, best = one.shape[1], np.full(len(one), -1.0)
    shifts = range(-LARGEST_SHIFT, LARGEST_SHIFT + 1)
    for down, right in ((down, right) for down in shifts for right in shifts):
        a = one[:, max(down, 0) : side + min(down, 0), max(right, 0) : side + min(right, 0)]
        b = other[:, max(-down, 0) : side + min(-down, 0), max(-right, 0) : side + min(-right, 0)]
        a, b = (values - values.mean(axis=(1, 2), keepdims=True) for values in (a, b))
        norm = np.sqrt((a * a).sum((1, 2), np.float64) * (b * b).sum((1, 2), np.float64))
        best = np.maximum(best, (a * b).sum((1, 2), np.float64) / np.maximum(norm, 1e-6))
    return best


def _near_copies(hashes: np.ndarray, pictures: np.ndarray, painters: np.ndarray, titles: np.ndarray) -> np.ndarray:
    """Pairs (k, 2) of rows whose hashes are near and whose pixels agree."""
    ones = np.bitwise_count(hashes)
    usable = np.flatnonzero((ones >= 24) & (ones <= 40))
    near = [usable[pairs] for pairs in _near(hashes[usable], MOST_BITS_RELATED)]
    i, j = np.concatenate([np.empty((0, 2), np.int64), *near]).T
    related = ((painters[i] == painters[j]) & (painters[i] != "")) | ((titles[i] == titles[j]) & (titles[i] != ""))
    candidate = related | (np.bitwise_count(hashes[i] ^ hashes[j]) <= MOST_BITS)
    i, j, related = i[candidate], j[candidate], related[candidate]
    bits = np.bitwise_count(hashes[i] ^ hashes[j])
    overall, details = np.zeros(len(i)), np.zeros(len(i))
    for start in range(0, len(i), 4096):
        block = slice(start, start + 4096)
        overall[block], details[block] = similarity(pictures[i[block]], pictures[j[block]])
    sure = (overall >= LEAST_OVERALL) & (details >= LEAST_DETAILS)
    sure |= related & ((details >= LEAST_DETAILS_RELATED) | (bits <= SURE_BITS_RELATED))
    return np.stack([i[sure], j[sure]], axis=1)


def _near(hashes: np.ndarray, distance: int, rows: int = 128, columns: int = 4096) -> Iterator[np.ndarray]:
    """Pairs (k, 2) of positions whose hashes differ in at most `distance` bits, tile by tile to stay in the cache."""
    for top in range(0, len(hashes), rows):
        for left in range(top, len(hashes), columns):
            bits = np.bitwise_count(hashes[top : top + rows, None] ^ hashes[None, left : left + columns])
            i, j = np.divmod(np.flatnonzero(bits.ravel() <= distance), bits.shape[1])
            if (other := i + top < j + left).any():
                yield np.stack([i[other] + top, j[other] + left], axis=1)


def _names(table: pd.DataFrame, column: str) -> np.ndarray:
    """Cleaned names without case, object of shape (n,); "" where the table has no such column."""
    values = table[column] if column in table else [""] * len(table)
    return np.array([clean(text).casefold() for text in values], object)


def _equal(keys: Sequence[object]) -> np.ndarray:
    """Pairs (k, 2) that bind each position to the first one with the same key; None is like no other."""
    first: dict[object, int] = {}
    pairs = [(first.setdefault(key, i), i) for i, key in enumerate(keys) if key is not None]
    return np.array(pairs, np.int64).reshape(-1, 2)
