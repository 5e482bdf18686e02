"""Any bytes become pixels or a named refusal."""

import io
import random
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import encode, scene
from PIL import Image, ImageCms, ImageDraw, ImageOps

from painters_mtl.common import errors
from painters_mtl.common.errors import Unreadable
from painters_mtl.images import decode as decoding
from painters_mtl.images.decode import decode
from painters_mtl.images.files import find_images, load_image
from painters_mtl.images.fingerprints import phash

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")  # pytest undoes the filter that the module sets


def difference(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    return float(np.abs(a.astype(int) - b).mean())


def reason(data: bytes, **options: int) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(data, **options)
    assert caught.value.reason in errors.REASONS
    return caught.value.reason


def png(width: int, height: int, rows: bytes = b"", *chunks: tuple[bytes, bytes]) -> bytes:
    """A grey PNG, built by hand."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


# --- colours and depths ---


@pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_lossless_formats_round_trip(image_format: str) -> None:
    image = scene().quantize(64).convert("RGB")  # few enough colours for a GIF
    picture = decode(encode(image, image_format, **({"lossless": True} if image_format == "WEBP" else {})))
    assert (picture.pixels == np.asarray(image)).all()
    assert (picture.width, picture.height, picture.repaired, picture.format) == (120, 90, "", image_format)
    assert picture.pixels.dtype == np.uint8


def test_grey_bilevel_and_palette() -> None:
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert (decode(encode(ramp, "PNG")).pixels == np.asarray(ramp)[..., None]).all()
    bits = ramp.point(lambda v: 255 * (v > 99), "1")
    assert (decode(encode(bits, "PNG")).pixels == np.where(np.asarray(ramp) > 99, 255, 0)[..., None]).all()
    coloured = scene().quantize(16)
    assert (decode(encode(coloured, "PNG")).pixels == np.asarray(coloured.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
def test_transparency_lies_on_white(mode: str) -> None:
    rgba = np.zeros((4, 5, 4), np.uint8)
    rgba[...] = [40, 40, 40, 0]
    rgba[1, 2, 3] = 255
    image = Image.fromarray(rgba)
    if mode == "P":
        image = Image.fromarray(rgba[..., 3] // 255)
        image.putpalette([40, 40, 40] * 2)
        data = encode(image, "PNG", transparency=0)
    else:
        data = encode(image.convert(mode), "PNG")
    expected = np.full((4, 5, 3), 255)
    expected[1, 2] = 40
    assert (decode(data).pixels == expected).all()


def test_half_transparent_in_closed_form() -> None:
    alpha = np.arange(256).reshape(16, 16)
    rgba = np.stack([np.full_like(alpha, v) for v in (200, 100, 0)] + [alpha], -1).astype(np.uint8)
    expected = 255 + (np.array([200, 100, 0]) - 255) * (alpha / 255)[..., None]
    assert np.abs(decode(encode(Image.fromarray(rgba), "PNG")).pixels - expected).max() <= 1
    # Hidden colours must not bleed into what is seen when the picture is made smaller.
    rgba[..., 3] = np.where(np.arange(16) < 8, 255, 0)
    small = decode(encode(Image.fromarray(rgba), "PNG"), square=2).pixels
    assert small[0, 0].tolist() == pytest.approx([200, 100, 0], abs=30)
    assert small[0, 1].min() > 225


def test_sixteen_bits_are_scaled() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = np.rint(values / 257)[..., None]
    for image_format in ("PNG", "TIFF"):
        assert (decode(encode(Image.fromarray(values), image_format)).pixels == expected).all()
    big_endian = b"MM\0*" + encode(Image.fromarray(values), "TIFF")[4:]
    assert reason(big_endian) in ("damaged", "truncated")
    pgm = b"P5 256 256 65535 " + values.astype(">u2").tobytes()
    assert (decode(pgm).pixels == expected).all()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_drawing_on_plain_paper_that_lacks_its_end_marker_is_whole(mode: str, progressive: bool) -> None:
    """What libjpeg does not have becomes grey; paper that is not grey was there."""
    paper = Image.new("RGB", (400, 600), (250, 240, 225))
    ImageDraw.Draw(paper).line([(10, 5), (380, 35)], "black", 3)
    stream = io.BytesIO()
    paper.convert(mode).save(stream, "JPEG", progressive=progressive)
    cut, whole = decode(stream.getvalue()[:-2]), decode(stream.getvalue())
    assert (cut.repaired, cut.share, whole.repaired) == ("truncated", 1.0, "")
    np.testing.assert_array_equal(cut.pixels, whole.pixels)
    half = decode(stream.getvalue()[: len(stream.getvalue()) // 2 + 300])
    assert half.repaired == "truncated" and (progressive or half.share < 0.9)


def test_integers_and_floats() -> None:
    for top in (1.0, 255.0, 65535.0):
        floats = np.linspace(0, top, 256, dtype=np.float32).reshape(16, 16)
        found = decode(encode(Image.fromarray(floats), "TIFF")).pixels[..., 0]
        assert np.abs(found - np.arange(256).reshape(16, 16)).max() <= 1
    wide = np.array([[-1e6, 0, 1e6, np.nan]], np.float32)
    assert decode(encode(Image.fromarray(wide), "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 255, 128]
    deep = (np.arange(256, dtype=np.int32) * 1_000_000).reshape(16, 16)
    assert (decode(encode(Image.fromarray(deep), "TIFF")).pixels[..., 0].ravel() == np.arange(256)).all()


def test_cmyk() -> None:
    inks = np.zeros((16, 64, 4), np.uint8)
    inks[:, 16:32] = [0, 255, 255, 0]
    inks[:, 32:48] = [255, 0, 255, 0]
    inks[:, 48:] = [0, 0, 0, 255]
    adobe = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    expected = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 0]])
    at = slice(8, 64, 16)
    assert np.abs(decode(adobe).pixels[8, at] - expected).max() <= 4
    # The same inks stored plainly: without Adobe's marker nothing is inverted.
    plain = encode(Image.fromarray(255 - inks, "CMYK"), "JPEG", quality=100)
    start = plain.index(b"\xff\xee")
    assert plain[start + 4 : start + 9] == b"Adobe"
    plain = plain[:start] + plain[start + 2 + int.from_bytes(plain[start + 2 : start + 4], "big") :]
    assert np.abs(decode(plain).pixels[8, at] - expected).max() <= 4
    broken_profile = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, icc_profile=b"nonsense" * 40)
    assert np.abs(decode(broken_profile).pixels[8, at] - expected).max() <= 4


# --- geometry ---


def test_sizes() -> None:
    data = encode(scene(300, 700), "JPEG", quality=95)
    assert decode(data).pixels.shape == (300, 700, 3)
    assert decode(data, square=50).pixels.shape == (50, 50, 3)
    assert decode(data, longest=100).pixels.shape == (43, 100, 3)
    assert decode(data, longest=9999).pixels.shape == (300, 700, 3)
    assert decode(encode(scene(2, 900), "PNG"), longest=30).pixels.shape == (1, 30, 3)
    picture = decode(data, square=50)
    assert (picture.width, picture.height) == (700, 300)
    with pytest.raises(ValueError, match="not both"):
        decode(data, square=5, longest=5)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(image_format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(scene(200, 320), image_format, exif=exif, **({"lossless": True} if image_format == "WEBP" else {}))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    picture = decode(data)
    assert (picture.width, picture.height) == upright.size == ((200, 320) if orientation >= 5 else (320, 200))
    assert (picture.pixels == np.asarray(upright)).all()
    small = decode(data, longest=64)
    assert small.pixels.shape == ((64, 40, 3) if orientation >= 5 else (40, 64, 3))
    assert (small.width, small.height) == upright.size
    expected = np.asarray(upright.resize(small.pixels.shape[1::-1], Image.Resampling.BICUBIC))
    assert difference(small.pixels, expected) < 2


@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0garbage" * 9])
def test_bad_exif_is_ignored(exif: bytes) -> None:
    data = encode(scene(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    assert (decode(data[:2] + segment + data[2:]).pixels == decode(data).pixels).all()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_out_of_range_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encode(scene(), "JPEG", exif=exif)).pixels.shape == (90, 120, 3)


def test_content_decides_and_first_frames() -> None:
    red, blue = Image.new("RGB", (20, 10), (255, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 255))
    for image_format in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        options = {"lossless": True} if image_format == "WEBP" else {}
        picture = decode(encode(red, image_format, save_all=True, append_images=[blue], **options), path="lies.bmp")
        assert np.abs(picture.pixels - np.array([255, 0, 0])).max() <= 2, image_format


# --- damage ---


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 95, "subsampling": 0}])
def test_cut_jpegs(options: dict) -> None:
    image = scene(600, 400)
    data = encode(image, "JPEG", **options)
    whole = decode(data)
    assert decode(data[:-2]).repaired == "truncated"
    assert (decode(data[:-2]).pixels == whole.pixels).all()  # only the end marker lacks
    half = decode(data[: len(data) * 6 // 10])
    assert half.repaired == "truncated"
    top = slice(0, 240)
    assert difference(half.pixels[top], whole.pixels[top]) < (6 if options.get("progressive") else 0.01)
    assert 0.45 < half.share <= 1
    for size in ({"square": 40}, {"longest": 40}):
        assert decode(data[: len(data) * 6 // 10], **size).repaired == "truncated"
    start = data.index(b"\xff\xda")
    assert reason(data[: start + 15]) == "truncated"  # nothing after the header
    assert reason(data[: start - 30]) == "truncated"
    assert reason(data[:10]) == "truncated"


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_other_cut_files(image_format: str) -> None:
    data = encode(scene(), image_format, **({"interlace": 0} if image_format == "GIF" else {}))
    half = decode(data[: len(data) // 2 + 200])
    assert half.repaired == "truncated"
    rows = slice(-30, None) if image_format == "BMP" else slice(30)  # a BMP begins with its last row
    assert (half.pixels[rows] == decode(data).pixels[rows]).all()
    assert 0.4 < half.share < 0.8


@pytest.mark.parametrize("image_format", ["WEBP", "AVIF"])
def test_cut_files_that_cannot_be_repaired(image_format: str) -> None:
    Image.init()
    if image_format not in Image.SAVE:
        pytest.skip(f"Pillow without {image_format}")
    data = encode(scene(), image_format)
    assert reason(data[: len(data) // 2]) in ("truncated", "damaged")


def test_repairs_are_marked_under_threads() -> None:
    data = encode(scene(400, 600), "JPEG", quality=90)
    cut = data[: len(data) // 2]
    whole, half = decode(data, square=64), decode(cut, square=64)
    assert (whole.repaired, half.repaired) == ("", "truncated")
    with ThreadPoolExecutor(8) as pool:
        for i, picture in enumerate(pool.map(lambda i: decode(cut if i % 2 else data, square=64), range(300))):
            expected = half if i % 2 else whole
            assert picture.repaired == expected.repaired
            assert (picture.pixels == expected.pixels).all()


def test_what_is_not_a_picture() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
    with pytest.raises(Unreadable, match="Git LFS pointer") as caught:
        decode(pointer, path="folder/x.jpg")
    assert caught.value.path == "folder/x.jpg" and str(caught.value).startswith("folder/x.jpg cannot be read: not an")
    for data in (b"\xef\xbb\xbf<!DOCTYPE html><p>404", b"hello\n", bytes(9), b"\x7fELF\2\0\0\0", b"PK\3\4" + bytes(9)):
        assert reason(data) == "not an image"
    assert reason(b"") == "empty"
    for data in (b"%PDF-1.4", b"%!PS-Adobe", b'<?xml version="1.0"?><svg>', b"8BPS\0\1", b"\0\0\0\x18ftypheic\0\0\0\0"):
        assert reason(data) == "unsupported format"


def test_bombs_are_refused_before_decoding() -> None:
    assert reason(png(60_000, 60_000)) == "too large"
    jpeg = bytearray(encode(scene(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = b"\xff\xff\xff\xff"
    assert reason(bytes(jpeg)) == "too large"
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (59_999).to_bytes(3, "little") * 2
    bomb = b"RIFF" + struct.pack("<I", len(canvas) + 4) + b"WEBP" + canvas
    assert reason(bomb) in ("too large", "damaged")  # Pillow 11 refuses it by itself, for there is no frame in it
    assert reason(encode(scene(), "PNG"), max_pixels=120 * 90 - 1) == "too large"
    assert decode(encode(scene(), "PNG"), max_pixels=120 * 90).repaired == ""


def test_a_hundred_megapixels_are_read_quietly() -> None:
    """Above Pillow's own limit, which must neither warn nor raise."""
    data = encode(Image.new("L", (25_528, 4_000), 77), "JPEG")
    code = (
        "import sys; from painters_mtl.images import decode as decoding\n"
        "p = decoding.decode(sys.stdin.buffer.read(), square=64)\n"
        "print(p.width, p.height, p.pixels.min(), p.pixels.max())"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert (done.stdout.decode().split(), done.stderr) == (["25528", "4000", "77", "77"], b"")


def test_png_with_a_text_bomb_keeps_its_pixels() -> None:
    rows = b"".join(b"\0" + bytes([i * 20] * 8) for i in range(8))
    bomb = (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000)))
    picture = decode(png(8, 8, rows, bomb))
    assert (picture.pixels == decode(png(8, 8, rows)).pixels).all()
    assert picture.pixels[3, 0, 0] == 60


def test_fuzz() -> None:
    """Whatever the bytes: pixels, or `Unreadable` with a known reason; and the same the second time."""
    rng = random.Random(0)
    image = scene(48, 64)
    samples = [encode(image, f) for f in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")]
    samples += [encode(image, "JPEG", progressive=True), encode(image.convert("CMYK"), "JPEG")]
    samples += [encode(image.convert(m), "PNG") for m in ("P", "LA", "RGBA", "1")]
    samples += [encode(image, "TIFF", compression=c) for c in ("tiff_lzw", "jpeg")]
    seen = set()
    for i in range(450):
        data = bytearray(samples[i % len(samples)])
        way = rng.randrange(4)
        if way == 0:
            del data[rng.randrange(len(data)) :]
        elif way == 1:
            for _ in range(rng.choice([1, 4, 30])):
                data[rng.randrange(min(len(data), rng.choice([40, 700, 10**6])))] = rng.randrange(256)
        elif way == 2:
            data[:12] = rng.choice(samples)[:12]
        else:
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(99)] = rng.randbytes(20)
        outcomes = []
        for _ in range(2):
            try:
                outcomes.append(decode(bytes(data), square=16).pixels.tobytes())
            except Unreadable as error:
                assert error.reason in errors.REASONS
                outcomes.append(str(error).encode())
                seen.add(error.reason)
        assert outcomes[0] == outcomes[1]
    assert {"truncated", "damaged", "not an image"} <= seen


# --- large pictures ---


@pytest.mark.parametrize("mode", ["RGBA", "P", "LA", "I;16"])
def test_large_pictures_in_strips_are_those_in_one_piece(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = scene(701, 930).convert("RGBA")
    image.putalpha(Image.fromarray(np.random.default_rng(1).integers(0, 256, (701, 930), np.uint8)))
    if mode == "I;16":
        image = Image.fromarray(np.random.default_rng(2).integers(0, 65536, (701, 930), np.uint16))
    data = encode(image.quantize(64) if mode == "P" else image if mode == "I;16" else image.convert(mode), "PNG")
    wanted = [decode(data, square=50).pixels, decode(data, longest=200).pixels]
    monkeypatch.setattr(decoding, "LARGE", 1000)
    monkeypatch.setattr(decoding, "STRIP", 40_000)
    for small, other in zip([decode(data, square=50), decode(data, longest=200)], wanted, strict=True):
        np.testing.assert_array_equal(small.pixels, other)


def test_one_large_picture_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LARGE", 90 * 120 - 1)
    at_once, most, real = 0, 0, decoding._load

    def load_slowly(image, target):  # type: ignore[no-untyped-def]
        nonlocal at_once, most
        at_once, most = at_once + 1, max(most, at_once + 1)
        time.sleep(0.02)
        at_once -= 1
        return real(image, target)

    monkeypatch.setattr(decoding, "_load", load_slowly)
    data = encode(scene(), "PNG")
    with ThreadPoolExecutor(4) as pool:
        assert len({picture.pixels.tobytes() for picture in pool.map(decode, [data] * 8)}) == 1
    assert most == 1


def test_the_middle_of_a_thin_picture_needs_no_enlarged_whole() -> None:
    """Equal to enlarging all of it and cutting; of 1 x 60,000 pixels, only the middle is enlarged."""
    pixels = np.asarray(scene(30, 91))
    whole = np.asarray(Image.fromarray(pixels).resize((round(91 * 60 / 30), 60), Image.Resampling.BICUBIC))
    left = (whole.shape[1] - 60) // 2
    np.testing.assert_allclose(decoding.middle(pixels, 60).astype(int), whole[:, left : left + 60], atol=1)
    line = np.zeros((1, 60_000, 3), np.uint8)
    line[:, 29_990:30_010] = 200
    assert (decoding.middle(line, 224) == 200).all()


# --- hashes ---


def test_phash_agrees_with_the_library() -> None:
    imagehash = pytest.importorskip("imagehash")
    for seed in range(5):
        image = scene(96, 160, seed)
        assert f"{phash(np.asarray(image)):016x}" == str(imagehash.phash(image))


@pytest.mark.real
def test_phash_finds_copies_and_tells_others_apart(paintings: Path) -> None:
    files = find_images(paintings / "gallery" / "images")[:60]
    pixels = [load_image(file).pixels for file in files]
    hashes = [phash(p) for p in pixels]
    assert all(0 <= h < 2**64 for h in hashes)
    for file, original, h in zip(files, pixels, hashes, strict=True):
        small = load_image(file, square=96).pixels
        again = decode(encode(Image.fromarray(original), "JPEG", quality=40)).pixels
        assert (h ^ phash(small)).bit_count() <= 6
        assert (h ^ phash(again)).bit_count() <= 6
    apart = [(a ^ b).bit_count() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert np.median(apart) > 25


# --- real files ---


@pytest.mark.real
def test_originals(paintings: Path) -> None:
    files = find_images(paintings / "originals")
    assert len(files) == 75
    refused, differences = {}, []
    for file in files:
        try:
            picture = load_image(file, square=96)
        except Unreadable as error:
            refused[file.name] = error.reason, "Git LFS" in error.detail
            continue
        assert picture.repaired == "" and picture.pixels.shape == (96, 96, 3)
        with Image.open(file.path) as image:
            assert (picture.width, picture.height) == image.size
            if image.mode in ("RGB", "L"):
                full = image.convert("RGB")
                if image.mode == "RGB" and (profile := image.info.get("icc_profile")):
                    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
                    full = ImageCms.profileToProfile(full, source, ImageCms.createProfile("sRGB"))
                full = full.resize((96, 96), Image.Resampling.BICUBIC)
                differences.append(difference(picture.pixels, np.asarray(full)))
    assert refused == {f"lfspointer_{n}_1.jpg": ("not an image", True) for n in ("Claude_Monet", "Rembrandt")}
    assert len(differences) == 70
    assert np.mean(differences) < 1 and max(differences) < 4  # grey levels, against a full decode


@pytest.mark.real
def test_cmyk_original_has_the_colours_of_its_profile(paintings: Path) -> None:
    (file,) = (f for f in find_images(paintings / "originals") if "CMYK" in f.name)
    image = Image.open(file.path)
    source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    expected = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    pixels = load_image(file, square=64).pixels
    assert difference(pixels, np.asarray(expected.resize((64, 64)))) < 2
    sky = pixels[:10].mean((0, 1))
    assert (sky > 190).all() and np.ptp(sky) < 25  # a pale sky: light, nearly grey


@pytest.mark.real
def test_cut_originals_are_read_or_refused_as_truncated(paintings: Path) -> None:
    for file in find_images(paintings / "originals")[9:40:3]:
        data = file.read()
        if not data.startswith(b"\xff\xd8") or len(data) < 9000:
            continue
        assert decode(data[: len(data) * 3 // 4], square=64).repaired == "truncated", file


def test_the_middle_is_at_the_picture_s_own_resolution() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decoding.middle(pixels, 40), pixels[25:65, 15:55])
    np.testing.assert_array_equal(decoding.middle(pixels, 70), pixels[10:80])
    enlarged = decoding.middle(pixels, 140)
    expected = np.asarray(Image.fromarray(pixels).resize((140, 180), Image.Resampling.BICUBIC))[20:160]
    np.testing.assert_array_equal(enlarged, expected)
