"""PNG files by the specification, with zlib alone, so that no imaging library is between the numbers and the file."""

import struct
import zlib

from fair_distill.data.grouped_dataset import Array

# The colour type of each number of channels.
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
# The first column and row, and the steps, of the seven passes of Adam7.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def raw_png(samples_HWc: Array, *, interlaced: bool = False, exif: bytes = b"") -> bytes:
    """Return a PNG of uint8 or uint16 samples: grey, grey and alpha, RGB, or RGBA."""
    height, width, channels = samples_HWc.shape
    depth = 8 * samples_HWc.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOURS[channels], 0, 0, interlaced)
    passes = [samples_HWc[y::dy, x::dx] for x, y, dx, dy in (_ADAM7 if interlaced else ((0, 0, 1, 1),))]
    # Each row starts with the number of its filter; 0 is none.
    rows = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for part in passes if part.size for row in part)
    chunks = [(b"IHDR", header), *([(b"eXIf", exif)] if exif else []), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
