"""Near-copies: which titles bind, which pictures do, and that unlike pictures with like hashes do not."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from painters_mtl.data.catalog import read_catalog
from painters_mtl.data.demo.collection import labels_table, paint, plan_works
from painters_mtl.data.duplicates import (
    THUMBNAIL,
    group_near_copies,
    is_distinctive_title,
    largest_group,
    similarity,
)
from painters_mtl.images.cache import build_image_cache
from painters_mtl.images.fingerprints import grey_thumbnail, phash


def hashes_like_real(n: int, seed: int = 0) -> np.ndarray:
    """n uint64 with half of their 64 bits set, as a pHash has."""
    order = np.random.default_rng(seed).random((n, 64)).argsort(axis=1)
    return np.packbits(order < 32, axis=1).view(np.uint64)[:, 0]


def flip(value: np.uint64, bits: int) -> np.uint64:
    return np.uint64(int(value) ^ sum(1 << (k * 3) for k in range(bits)))


def catalogue(n: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{i}.jpg" for i in range(n)], "painter": "", "title": ""}, dtype=object)


def drawn(numbers: list[int]) -> np.ndarray:
    """A thumbnail for each number: the same number, the same picture, with a little noise of its own."""
    pictures = np.random.default_rng(5).normal(128, 40, (max(numbers) + 1, THUMBNAIL, THUMBNAIL))
    noise = np.random.default_rng(6).normal(0, 4, (len(numbers), THUMBNAIL, THUMBNAIL))
    return np.clip(pictures[numbers] + noise, 0, 255).astype(np.uint8)


def same(groups: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(groups == g).tolist()) for g in set(groups.tolist())}


def sets(*groups: list[int]) -> set[frozenset[int]]:
    return set(map(frozenset, groups))


# ------------------------------------------------------------------------------------------------- titles


def test_same_painter_and_title():
    rows = [("Monet", "Haystacks"), ("monet ", " hay  stacks"), ("MONET", "HAYSTACKS"), ("Manet", "Haystacks"),
            ("Monet", ""), ("Monet", ""), ("", "Haystacks"), ("", "Haystacks"), ("Monet", "Untitled, No. 3"),
            ("Monet", "untitled, no. 3"), ("Monet", "Hay\xa0Stacks")]  # fmt: skip
    table = catalogue(len(rows)).assign(painter=[r[0] for r in rows], title=[r[1] for r in rows])
    groups = group_near_copies(table)
    assert groups.dtype == np.int64 and groups.shape == (11,)
    assert same(groups) == sets([0, 2], [1, 10], [3], [4], [5], [6], [7], [8, 9])


@pytest.mark.parametrize(
    "title",
    [
        *("Untitled", "untitled.", "(UNTITLED)", "[Untitled]", "No title", "Sans titre", "Ohne Titel", "Senza titolo"),
        *(
            "Sin título",
            "Sem Título",
            "Без названия",
            "無題",
            "NOT DETECTED",
            "not_detected",
            "unknown title",
            "?",
            " - ",
        ),
        *("Self-portrait", "Self Portrait", "Autoportrait", "Selbstbildnis", "Portrait of a man", "Portrait Of An Old"),
        *("Head of a Young Woman", "Landscape", "Still Life", "Nature morte", "Composition", "Seated nude", "N/A"),
    ],
)
def test_titles_that_say_nothing(title):
    table = catalogue(3).assign(painter="Monet", title=[title, title, "Haystacks"])
    assert not is_distinctive_title(title)
    assert same(group_near_copies(table)) == sets([0], [1], [2])


@pytest.mark.parametrize(
    "title",
    ["Untitled 12", "Composition VIII", "Self-portrait with a pipe", "Portrait of Dr. Gachet", "Winter landscape",
     "The Annunciation", "睡蓮", "The Man with the Golden Helmet", "1957"],
)  # fmt: skip
def test_titles_that_say_something(title):
    assert is_distinctive_title(title)
    assert len(set(group_near_copies(catalogue(2).assign(painter="Monet", title=title)).tolist())) == 1


def test_works_that_are_all_called_untitled_are_no_copies(cases):
    table = read_catalog(cases / "untitled").table
    assert set(table["title"]) == {"Untitled"} and table["painter"].nunique() == 3
    assert len(set(group_near_copies(table).tolist())) == len(table)


def test_the_largest_group_is_named():
    table = catalogue(5).assign(painter=["A", "B", "B", "B", ""], title=["x", "Roses", "roses", "Roses", ""])
    assert largest_group(table, group_near_copies(table)) == (3, "'Roses' by B")
    assert largest_group(table, np.array([0, 1, 2, 3, 3])) == (2, "'Roses' by B")
    assert largest_group(table[["id"]], np.zeros(5, int)) == (5, "works without a title")


def test_a_table_without_painters_or_titles():
    assert same(group_near_copies(catalogue(3)[["id"]], contents=np.array(["a", "b", "a"]))) == sets([0, 2], [1])


# ------------------------------------------------------------------------------------------------- pictures


def test_files_that_are_the_same():
    contents = np.array(["a", "b", "a", "", ""])
    assert same(group_near_copies(catalogue(5), contents=contents)) == sets([0, 2], [1], [3], [4])


def test_near_hashes_flat_pictures_and_chains():
    h = hashes_like_real(4)
    values = [h[0], flip(h[0], 12), h[1], flip(h[1], 13), h[2], flip(h[2], 15), 0, 0, 1, 2**64 - 1, h[3]]
    hashes, table = np.array(values, np.uint64), catalogue(len(values))
    small = drawn([0, 0, 1, 1, 2, 2, 3, 3, 3, 3, 4])
    flat = [[i] for i in range(6, 11)]
    assert same(group_near_copies(table, hashes, small)) == sets([0, 1], [2], [3], [4], [5], *flat)
    table["painter"] = "Monet"  # hashes of works by one painter may differ more
    assert same(group_near_copies(table, hashes, small)) == sets([0, 1], [2, 3], [4], [5], *flat)
    table.loc[[1, 10], "title"] = "Haystacks"  # 0 looks like 1, which is called as 10
    assert frozenset([0, 1, 10]) in same(group_near_copies(table, hashes, small))


def test_like_hashes_of_unlike_pictures_do_not_chain():
    """As dark portraits have them: each hash is near the next one's, and no two pictures are the same."""
    n = 60
    hashes = np.array([flip(hashes_like_real(1)[0], k % 7) for k in range(n)])
    table, unlike = catalogue(n).assign(painter=[f"P{k}" for k in range(n)]), drawn(list(range(n)))
    assert len(set(group_near_copies(table, hashes, unlike).tolist())) == n
    pairs = drawn([k // 2 for k in range(n)])
    assert same(group_near_copies(table, hashes, pairs)) == sets(*([k, k + 1] for k in range(0, n, 2)))


def slow_similarity(one: np.ndarray, other: np.ndarray) -> float:
    """The first correlation of `similarity`, from its definition."""
    best = -1.0
    for down in range(-2, 3):
        for right in range(-2, 3):
            pairs = [(one[y + down, x + right], other[y, x]) for y in range(32) for x in range(32)
                     if 0 <= y + down < 32 and 0 <= x + right < 32]  # fmt: skip
            best = max(best, float(np.corrcoef(np.array(pairs, float).T)[0, 1]))
    return best


def test_similarity_is_the_best_of_all_shifts():
    one, other = drawn([0, 1, 2]), drawn([0, 4, 5])
    other[0] = np.roll(one[0], (1, -2), (0, 1))
    overall, details = similarity(one, other)
    assert overall == pytest.approx([slow_similarity(a, b) for a, b in zip(one, other, strict=True)], abs=1e-5)
    assert overall[0] > 0.999 and details[0] > 0.99 and (details[1:] < 0.5).all()
    assert np.allclose(similarity(other, one), (overall, details))  # no order among the two
    flat = np.full((1, THUMBNAIL, THUMBNAIL), 7, np.uint8)
    assert [values.tolist() for values in similarity(flat, one[:1])] == [[0.0], [0.0]]


def test_groups_are_those_of_a_slow_search():
    base = hashes_like_real(60, seed=1)
    random = np.random.default_rng(2)
    drawn_pairs = zip(random.integers(0, 60, 300).tolist(), random.integers(0, 16, 300).tolist(), strict=True)
    hashes = np.array([flip(base[i], bits) for i, bits in drawn_pairs])
    small = drawn(random.integers(0, 20, 300).tolist())
    table = catalogue(300).assign(painter=[f"P{i % 7}" for i in range(300)])
    groups = group_near_copies(table, hashes, small)
    numbers = list(range(300))  # relabel until nothing changes

    def linked(i: int, j: int) -> bool:
        distance = bin(int(hashes[i]) ^ int(hashes[j])).count("1")
        usable = all(24 <= bin(int(hashes[k])).count("1") <= 40 for k in (i, j))
        if not usable or distance > (14 if i % 7 == j % 7 else 12):
            return False
        correlation = np.corrcoef(small[i].ravel(), small[j].ravel())[0, 1]  # of noise: near 0, or near 1
        return correlation > 0.5 or (i % 7 == j % 7 and distance <= 8)

    links = [(i, j) for i in range(300) for j in range(i) if linked(i, j)]
    for _ in range(300):
        for i, j in links:
            numbers[i] = numbers[j] = min(numbers[i], numbers[j])
    assert same(groups) == same(np.array(numbers)) and 10 < len(set(numbers)) < 290


def test_the_order_of_the_rows_does_not_matter():
    random = np.random.default_rng(3)
    base = hashes_like_real(20, seed=1)
    hashes = np.array([flip(base[i], b) for i, b in random.integers(0, (20, 14), (120, 2)).tolist()])
    small = drawn(random.integers(0, 15, 120).tolist())
    table = catalogue(120).assign(
        painter=[f"P{i % 3}" for i in range(120)], title=random.integers(0, 90, 120).astype(str)
    )
    first = group_near_copies(table, hashes, small)
    order = random.permutation(120)
    again = group_near_copies(table.iloc[order].reset_index(drop=True), hashes[order], small[order])
    assert {frozenset(order[list(group)].tolist()) for group in same(again)} == same(first)


def test_a_hundred_thousand_hashes_in_tiles():
    n = 20_000  # a 25th of the work that 100,000 make
    hashes = hashes_like_real(n)
    hashes[:1000] = 0  # flat pictures
    hashes[-500:] = hashes[5000:5500]
    small = np.random.default_rng(0).integers(0, 256, (n, THUMBNAIL, THUMBNAIL), np.uint8)
    small[-500:] = small[5000:5500]
    groups = group_near_copies(catalogue(n), hashes, small)
    assert (groups[-500:] == groups[5000:5500]).all()
    assert len(set(groups[:1000].tolist())) == 1000 and np.bincount(groups).max() < 5


def test_another_photograph_of_a_painting_is_a_near_copy_and_another_painting_is_none():
    """Painted pictures, their hashes as the program computes them; the copy is cropped, darker and compressed."""
    works = [work for work in plan_works(60, 2) if work.copy_of is None][:24]
    pictures = [paint(work, 96, 2).resize((80, 80)) for work in works]
    for k in range(12):
        original = pictures[k]
        copy = ImageEnhance.Brightness(original.crop((1, 1, 79, 80))).enhance(0.85).resize((80, 80))
        file = BytesIO()
        copy.save(file, "JPEG", quality=60)
        pictures.append(Image.open(file).convert("RGB"))
    pixels = np.stack([np.asarray(picture) for picture in pictures])
    hashes = np.array([phash(picture) for picture in pixels], np.uint64)
    small = np.stack([grey_thumbnail(picture) for picture in pixels])
    expected = sets(*([k, 24 + k] for k in range(12)), *([k] for k in range(12, 24)))
    assert same(group_near_copies(catalogue(len(pixels)), hashes, small)) == expected


@pytest.mark.slow
def test_the_demos_copies_are_found_by_their_pictures_alone():
    works = plan_works(400, 0)
    table = labels_table(works, 0)
    copies = {(work.copy_of, work.index) for work in works if work.copy_of is not None}
    pixels = np.stack([np.asarray(paint(work, 96, 0).resize((80, 80))) for work in works])
    hashes = np.array([phash(picture) for picture in pixels], np.uint64)
    small = np.stack([grey_thumbnail(picture) for picture in pixels])
    blank = catalogue(len(table))
    pairs = {tuple(sorted(g)) for g in same(group_near_copies(blank, hashes, small)) if len(g) > 1}
    assert {tuple(sorted(pair)) for pair in copies} == pairs


# ------------------------------------------------------------------------------------------------- real paintings


COPIES = [  # pairs by two painters, or under two names: seen
    "Baroque/anthony-van-dyck_isabella-brandt-1621.jpg",
    "Baroque/peter-paul-rubens_portrait-of-isabella-brandt-1626.jpg",
    "Baroque/gerrit-dou_anna-and-blind-tobit.jpg",
    "Baroque/rembrandt_anna-and-the-blind-tobit.jpg",
    "Baroque/adriaen-van-ostade_a-frozen-lake.jpg",
    "Baroque/isaac-van-ostade_a-frozen-lake.jpg",
    "Rococo/bernardo-bellotto_the-arch-of-constantine-1742.jpg",
    "Rococo/canaletto_rome-the-arch-of-constantine-1742.jpg",
]
ALIKE = [  # pairs at most eight bits apart, and not the same picture: seen
    "Rococo/dmitry-levitzky_alexander-i-as-a-child-1787.jpg",
    "Rococo/fyodor-rokotov_portrait-of-a-m-rimskiy-korsakov.jpg",
    "Baroque/gerrit-dou_heraklith-1632.jpg",
    "Baroque/rembrandt_albert-cuyper.jpg",
    "Baroque/antoine-pesne_portrait-of-a-man.jpg",
    "Baroque/joshua-reynolds_self-portrait-4.jpg",
    "Minimalism/richard-serra_sketch-6-1981.jpg",
    "Naive_Art_Primitivism/fernand-leger_the-annunciation.jpg",
]


def grouped(table: pd.DataFrame, cache: Path) -> np.ndarray:
    """The copy groups of a catalogue's paintings, as `dataset.prepare` makes them."""
    store = build_image_cache(table, 80, cache)
    return group_near_copies(table, store.hashes, store.thumbnails[store.rows], store.contents)


@pytest.mark.real
def test_copies_of_real_paintings(paintings, tmp_path):
    table = read_catalog(paintings / "wikiart").table
    table = table[table["id"].isin(COPIES + ALIKE)].reset_index(drop=True)
    assert len(table) == 16
    groups = dict(zip(table["id"], grouped(table, tmp_path).tolist(), strict=True))
    assert all(groups[one] == groups[other] for one, other in zip(COPIES[::2], COPIES[1::2], strict=True))
    assert len(set(groups.values())) == 12


@pytest.mark.real
def test_self_portraits_are_no_chain(paintings, tmp_path):
    """Of 250 self-portraits by 80 painters, hashes alone made a group of dozens."""
    table = read_catalog(paintings / "wikiart").table
    table = table[table["title"].str.contains("self.?portrait", case=False)].reset_index(drop=True)
    sizes = np.bincount(grouped(table, tmp_path))
    assert len(table) > 200 and sizes.max() <= 4 and (sizes > 1).sum() >= 3
