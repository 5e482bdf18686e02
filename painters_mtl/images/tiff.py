"""TIFFs of kinds that Pillow opens and reads wrong: put right where that is simple, else refused by name.

A TIFF can hold its pixels in hundreds of ways. Pillow refuses most of the rare ones, and mistakes a few for others: 16
bits in separate planes, white as 0 with 16 bits, 12 bits, whole numbers of 32 bits without a sign. Which ones was found
out by writing every combination of bits, sign, planes, colours, byte order and compression with the library tifffile.
"""

import io
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from painters_mtl.common.errors import Unreadable

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, YCBCR, LAB = 0, 1, 2, 5, 6, 8
SEPARATE = 2  # planes, one after the other
NO_COMPRESSION, NO_PREDICTOR = 1, 1
UNASSOCIATED = 2  # transparency that the colours were not multiplied with
KINDS = {SIGNED: "signed", FLOAT: "floating-point"}
COLOURS = {
    WHITE_IS_ZERO: ", white as 0",
    CMYK: ", CMYK",
    YCBCR: ", YCbCr",
    LAB: ", CIE Lab",
    9: ", ICC Lab",
    10: ", ITU Lab",
}


class Layout:
    """How a TIFF holds its pixels, from its first directory; an error of any kind where that is damaged."""

    def __init__(self, data: bytes) -> None:
        stream = io.BytesIO(data)
        header = stream.read(8)
        if header[2:3] + header[3:4] in (b"+\0", b"\0+"):  # BigTIFF
            header += stream.read(8)
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        stream.seek(tags.next)
        tags.load(stream)
        self.bits = int(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))[0])
        self.kind = int(tags.get(TiffImagePlugin.SAMPLEFORMAT, (UNSIGNED,))[0])
        self.colours = int(tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, WHITE_IS_ZERO))
        self.channels = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
        self.planes = self.channels > 1 and tags.get(TiffImagePlugin.PLANAR_CONFIGURATION) == SEPARATE
        self.compression = int(tags.get(TiffImagePlugin.COMPRESSION, NO_COMPRESSION))
        self.predictor = int(tags.get(TiffImagePlugin.PREDICTOR, NO_PREDICTOR))
        self.extra = tuple(tags.get(TiffImagePlugin.EXTRASAMPLES, ()))
        self.big_endian = header.startswith(b"MM")

    def read_wrong(self) -> bool:
        """Whether Pillow would read other pixels than there are, in a way that `_mend_tiles` and `mend` cannot undo."""
        compressed = self.compression != NO_COMPRESSION
        rgb_planes = self.colours == RGB and self.extra in ((), (UNASSOCIATED,))
        cmyk_planes = self.colours == CMYK and not self.extra and self.bits == 8
        return (
            (self.bits > 8 and self.colours == WHITE_IS_ZERO and (self.bits, self.kind) != (16, UNSIGNED))
            or (self.bits < 32 and self.kind == SIGNED)
            or (self.bits == 32 and compressed and (self.big_endian or self.predictor != NO_PREDICTOR))
            or (self.planes and self.colours in (WHITE_IS_ZERO, BLACK_IS_ZERO, LAB))
            or (self.raw_planes() and not rgb_planes and not cmyk_planes)
            or self.compression not in TiffImagePlugin.COMPRESSION_INFO
        )

    def raw_planes(self) -> bool:
        """Whether it is in planes that are not compressed: Pillow reads the others by way of libtiff."""
        return self.planes and self.compression == NO_COMPRESSION

    def has_unknown_channel(self) -> bool:
        """Whether it has a channel beside its colours of which it does not say what it holds."""
        return self.extra == (0,)

    def refusal(self) -> Unreadable:
        """The refusal that names the kind of TIFF, and the way out."""
        what = f"a TIFF of {self.channels} x {self.bits} bits"
        what += f", {KINDS[self.kind]}" if self.kind in KINDS else ""
        what += COLOURS.get(self.colours, "") + ", in separate planes" * self.planes
        if self.compression not in TiffImagePlugin.COMPRESSION_INFO:
            what += f", compression {self.compression}"
        return Unreadable("unsupported format", f"{what}: save it as PNG, or in one plane with 8 bits a channel")


def open_tiff(data: bytes) -> tuple[Any, Layout | None]:
    """Pillow's image with its header read, and its layout, None where the directory is damaged.

    Raises `Unreadable` for what cannot be read right, and whatever Pillow raises for a damaged file.
    """
    try:
        layout = Layout(data)
    except Exception:  # Pillow's own reading of the header tells whether there is something to be had
        layout = None
    if layout and layout.read_wrong():
        raise layout.refusal()
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except SyntaxError as error:
        if layout and "pixel mode" in str(error):
            raise layout.refusal() from error
        raise
    if layout and layout.raw_planes() and layout.bits == 16:
        _mend_tiles(image, "B" if layout.big_endian else "L")
    return image, layout


def _mend_tiles(image: Any, order: str) -> None:
    """Have the planes read as 16 bits: Pillow names its decoder as if they had 8."""
    image.tile = [tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:])) for tile in image.tile]


def mend(image: Any, layout: Layout) -> Any:
    """A loaded image with the grey levels that the file has, as Pillow's mode I;16 or F."""
    if layout.channels > 1:
        return image
    if layout.bits == 16 and layout.colours == WHITE_IS_ZERO and image.mode.startswith("I;16"):
        return Image.fromarray(65535 - np.asarray(image).astype(np.uint16))
    if layout.bits == 12:  # read as whole numbers up to 4095
        return Image.fromarray((np.asarray(image).astype(np.uint32) * 65535 // 4095).astype(np.uint16))
    if layout.bits == 32 and layout.kind == UNSIGNED and image.mode == "I":
        values = np.asarray(image).view(np.uint32)
        top = 65535 if values.max() <= 65535 else 2**32 - 1
        return Image.fromarray((values / top).astype(np.float32))
    return image
