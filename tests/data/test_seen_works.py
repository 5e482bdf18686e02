"""Codes of four bytes tell which paintings trained the bundled model, in whatever file they come."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from painters_mtl.data.seen_works import BITS, MOST_BITS, codes_of, seen_among, with_seen_in_train
from painters_mtl.images.cache import COMPARED_SIDE
from painters_mtl.images.decode import decode
from painters_mtl.images.fingerprints import phash
from painters_mtl.runs.model_choice import bundled_model
from painters_mtl.runs.packaged import TRAINING_WORKS, training_codes, training_codes_arrays


def test_a_code_has_the_bits_of_the_lowest_frequencies() -> None:
    """Each bit of the code is one bit of the hash: that of two frequencies whose sum is 7 at most, never (0, 0)."""
    hashes = np.uint64(1) << np.arange(64, dtype=np.uint64)[::-1]  # the bits one by one, from the left
    ones = np.bitwise_count(codes_of(hashes))
    assert ones.sum() == 32 and ones.max() == 1
    vertical, horizontal = np.divmod(np.flatnonzero(ones), 8)
    assert (vertical + horizontal).max() == 7 and (vertical + horizontal).min() == 1
    others = np.setdiff1d(np.arange(1, 64), np.flatnonzero(ones))
    assert sum(np.divmod(others, 8)).min() >= 7
    assert sorted(BITS) == np.flatnonzero(ones).tolist()


def test_two_bits_apart_is_seen_and_three_is_not() -> None:
    code = np.uint64(0x123456789ABCDEF0)
    flips = [np.uint64(0)] + [
        np.bitwise_or.reduce(np.uint64(1) << (63 - BITS[:n]).astype(np.uint64)) for n in (1, 2, 3, 32)
    ]
    found = seen_among(np.array([code ^ flip for flip in flips]), codes_of(np.array([code])))
    assert found.tolist() == [True, True, True, False, False]
    assert MOST_BITS == 2
    assert not seen_among(np.array([code]), np.zeros(0, np.uint32)).any()


def test_blocks_change_nothing() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 1000, dtype=np.uint64)
    codes = codes_of(rng.integers(0, 2**64, 20_000, dtype=np.uint64))
    wanted = [np.bitwise_count(codes ^ code).min() <= 2 for code in codes_of(hashes)]
    assert seen_among(hashes, codes).tolist() == wanted


def test_codes_come_back_from_their_arrays() -> None:
    """Sorted, each once: the largest and the smallest code too."""
    codes = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32)
    codes[:4] = 0, 2**32 - 1, 7, 7
    stored = training_codes_arrays(codes)["distances"]
    assert stored.dtype == np.uint32
    assert np.cumsum(stored, dtype=np.uint32).tolist() == sorted(set(codes.tolist()))


def test_seen_works_and_their_near_copies_leave_test_and_validation() -> None:
    split = np.array(["train", "test", "test", "validation", "validation", "", "test"], object)
    groups = np.array([0, 1, 2, 2, 3, 3, 4])
    seen = np.array([True, False, True, False, False, True, False])
    moved = with_seen_in_train(split, groups, seen)
    assert moved.tolist() == ["train", "test", "train", "train", "train", "", "test"]
    assert split.tolist()[2] == "test"  # the one that was given stays


def resaved(file: Path, side: int, quality: int) -> int:
    """The hash of a picture as another site has it: of another size, as another JPEG."""
    stream = io.BytesIO()
    Image.open(file).convert("RGB").resize((side, side), Image.Resampling.LANCZOS).save(stream, "JPEG", quality=quality)
    return phash(decode(stream.getvalue(), square=COMPARED_SIDE).pixels)


def test_the_bundled_model_knows_its_training_works(paintings: Path) -> None:
    """84 % of this collection trained it (`benchmarks/model_split.py`), and some 1 % of the others look so."""
    folder = bundled_model()
    assert folder is not None and (folder / TRAINING_WORKS).is_file()
    codes = training_codes(folder)
    assert codes is not None and 14_500 < len(codes) <= 15_060

    def share(name: str) -> float:
        files = sorted((paintings / name).rglob("*.jpg"))
        drawn = np.random.default_rng(0).choice(len(files), 300, replace=False)
        return float(seen_among(np.array([resaved(files[i], 128, 70) for i in drawn], np.uint64), codes).mean())

    assert 0.75 < share("wikiart") < 0.91
    assert share("pbn64") < 0.06
