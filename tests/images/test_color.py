"""Colours are those of the embedded profile, in sRGB; what has no profile, or a broken one, stays byte for byte."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import encode, scene
from PIL import Image, ImageCms

from painters_mtl.images.decode import decode
from painters_mtl.images.files import find_images, load_image

# Chromaticities of red, green and blue (x, y), and the exponent of the tone curve.
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 2.19921875
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8
D50 = np.array([0.9642, 1.0, 0.8249])
D65 = np.array([0.95045, 1.0, 1.08905])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


def to_d50(primaries: tuple[tuple[float, float], ...], white: np.ndarray) -> np.ndarray:
    """The matrix from linear RGB to XYZ under D50, in closed form: primaries, white, Bradford's adaptation."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    matrix = xyz * np.linalg.solve(xyz, white)
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ matrix


def profile(kind: tuple, white: np.ndarray = D65) -> bytes:
    """An ICC profile of version 2 by hand: three primaries and one exponent."""
    primaries, gamma = kind
    fixed = lambda values: b"".join(round(v * 65536).to_bytes(4, "big", signed=True) for v in values)  # noqa: E731
    matrix = to_d50(primaries, white)
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big") + bytes(2)
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(D50)}
    for k, colour in enumerate((b"r", b"g", b"b")):
        tags[colour + b"XYZ"] = b"XYZ " + bytes(4) + fixed(matrix[:, k])
        tags[colour + b"TRC"] = curve
    return packed(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big") + bytes(2)
    white = b"XYZ " + bytes(4) + b"".join(round(v * 65536).to_bytes(4, "big") for v in D50)
    return packed(b"GRAY", {b"wtpt": white, b"kTRC": curve})


def packed(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"by hand"
    tags = {
        b"desc": b"desc" + bytes(4) + (len(text) + 1).to_bytes(4, "big") + text + bytes(80),
        b"cprt": b"text" + bytes(4) + b"none\0",
        **tags,
    }
    table, data = len(tags).to_bytes(4, "big"), b""
    for name, content in tags.items():
        content = content.ljust(-(-len(content) // 4) * 4, b"\0")
        table += name + (132 + 12 * len(tags) + len(data)).to_bytes(4, "big") + len(content).to_bytes(4, "big")
        data += content
    size = 128 + len(table) + len(data)
    head = size.to_bytes(4, "big") + bytes(4) + b"\x02\x40\0\0" + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + b"\0\0\xf6\xd6\0\x01\0\0\0\0\xd3\x2d"
    return head.ljust(128, b"\0") + table + data


def srgb_levels(linear: np.ndarray) -> np.ndarray:
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def expected_from(pixels: np.ndarray, kind: tuple, white: np.ndarray = D65) -> np.ndarray:
    """The colours of `pixels`, uint8, under a profile, in sRGB, in closed form."""
    primaries, gamma = kind
    linear = (pixels / 255) ** gamma
    matrix = np.linalg.inv(to_d50(SRGB, D65)) @ to_d50(primaries, white)
    return srgb_levels(linear @ matrix.T)


def muted(height: int = 60, width: int = 80) -> Image.Image:
    """A scene without the strongest colours, which a wide profile has and sRGB has not."""
    return Image.fromarray((60 + np.asarray(scene(height, width)) * 0.5).astype(np.uint8))


@pytest.mark.parametrize(("kind", "white"), [(ADOBE_RGB, D65), (PROPHOTO, D50)])
@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "WEBP"])
def test_wide_colours_become_those_of_srgb(kind: tuple, white: np.ndarray, image_format: str) -> None:
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = encode(muted(), image_format, icc_profile=profile(kind, white), **options)
    expected = expected_from(np.asarray(muted()), kind, white)
    difference = np.abs(decode(data).pixels - expected)
    assert difference.mean() < 0.6 and np.quantile(difference, 0.999) <= 3
    assert np.abs(expected - np.asarray(muted())).mean() > 3  # the profile matters


@pytest.mark.parametrize("size", [{"square": 48}, {"longest": 64}, {}])
def test_colours_are_the_same_at_every_size(size: dict) -> None:
    """Also where a picture is large enough for LittleCMS to work with tables."""
    large = muted(600, 800)
    plain = decode(encode(large, "BMP"), **size).pixels
    pixels = decode(encode(large, "TIFF", icc_profile=profile(ADOBE_RGB)), **size).pixels
    assert np.abs(pixels - expected_from(plain, ADOBE_RGB)).mean() < 0.8


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK in the file, RGB in the profile"])
def test_other_modes_with_a_profile_of_rgb(mode: str) -> None:
    image = muted()
    if mode == "RGBA":
        image.putalpha(255)
    elif mode == "P":
        image = image.quantize(64)
    else:
        data = encode(image.convert("CMYK"), "TIFF", icc_profile=profile(ADOBE_RGB))
        plain = decode(encode(image.convert("CMYK"), "TIFF"))
        np.testing.assert_array_equal(decode(data).pixels, plain.pixels)  # it is for other pictures
        return
    expected = expected_from(np.asarray(image.convert("RGB")), ADOBE_RGB)
    assert np.abs(decode(encode(image, "PNG", icc_profile=profile(ADOBE_RGB))).pixels - expected).mean() < 0.6


@pytest.mark.parametrize("gamma", [1.8, 1.0])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_greys(gamma: float, mode: str) -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert(mode)
    pixels = decode(encode(ramp, "PNG", icc_profile=grey_profile(gamma))).pixels
    expected = srgb_levels((np.arange(256) / 255) ** gamma).reshape(16, 16, 1)
    assert np.abs(pixels - expected).max() <= 2 and np.ptp(pixels, axis=-1).max() <= 1


def test_profiles_of_srgb_change_nothing() -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for image in (scene(), scene().convert("L"), scene().convert("CMYK")):
        for image_format in ("JPEG", "TIFF"):
            plain, tagged = encode(image, image_format), encode(image, image_format, icc_profile=own)
            np.testing.assert_array_equal(decode(tagged).pixels, decode(plain).pixels)


def broken_profiles() -> list[bytes]:
    good = profile(ADOBE_RGB)
    rng = np.random.default_rng(0)
    flipped = []
    for _ in range(30):
        data = bytearray(good)
        for at in rng.integers(0, len(data), 8):
            data[at] ^= 1 << int(rng.integers(8))
        flipped.append(bytes(data))
    return [b"x", b"nonsense" * 99, good[:60], good[: len(good) // 2], bytes(500), *flipped]


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_a_broken_profile_costs_no_picture(image_format: str) -> None:
    plain = decode(encode(scene(), image_format)).pixels
    unreadable = 0
    for data in broken_profiles():
        picture = decode(encode(scene(), image_format, icc_profile=data))
        assert picture.repaired == "" and picture.pixels.shape == plain.shape
        try:
            ImageCms.ImageCmsProfile(io.BytesIO(data))
        except Exception:
            unreadable += 1
            np.testing.assert_array_equal(picture.pixels, plain)
    assert unreadable >= 5


def test_threads_share_profiles() -> None:
    """Pictures of two profiles and of none, in any order, come out as one after the other."""
    kinds = [profile(ADOBE_RGB), profile(PROPHOTO, D50), None]
    files = [encode(scene(seed=k), "PNG", **({"icc_profile": p} if p else {})) for k, p in enumerate(kinds)]
    expected = [decode(data).pixels.tobytes() for data in files]
    assert len(set(expected)) == 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda k: decode(files[k % 3]).pixels.tobytes(), range(120)))
    assert found == [expected[k % 3] for k in range(120)]


def test_cases(cases: Path) -> None:
    """Six paintings in Adobe RGB are those in sRGB, but for the rounding to 8 bits in the one and the other."""
    files = find_images(cases / "icc")
    assert len(files) == 12
    for file in files[::2]:
        adobe, srgb = load_image(file), load_image(file.path.replace("_adobe", "_srgb"))
        assert np.abs(adobe.pixels.astype(int) - srgb.pixels).mean() < 0.3
        small = [load_image(f, square=120).pixels.astype(int) for f in (file, file.path.replace("_adobe", "_srgb"))]
        assert np.abs(small[0] - small[1]).mean() < 0.4  # resized before their colours are converted
