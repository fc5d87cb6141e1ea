"""Creates the first bytes of image files, and small PDFs."""

import base64
import struct
import zlib


def encoded(data: bytes) -> str:
    """Base64 for the Messages API."""
    return base64.b64encode(data).decode()


def png(width: int, height: int) -> bytes:
    """Signature and IHDR chunk (RFC 2083)."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def gif(width: int, height: int) -> bytes:
    """Signature and logical screen descriptor (GIF89a)."""
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)


def webp(width: int, height: int, kind: str = "VP8 ") -> bytes:
    """RIFF header and the start of the first chunk (RFC 9649): lossy, lossless or extended."""
    chunk = {
        "VP8 ": b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width, height),
        "VP8L": b"\x2f" + struct.pack("<I", (height - 1) << 14 | (width - 1)) + bytes(6),
        "VP8X": bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"),
    }[kind]
    body = b"WEBP" + kind.encode() + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int, *, profile_bytes: int = 0, frame: int = 0xC0) -> bytes:
    """Start of image, a JFIF segment, profiles in front of the frame, the frame, and a scan (ITU-T T.81)."""
    segments = [(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")]
    segments += [(0xE2, bytes(min(60_000, profile_bytes - start))) for start in range(0, profile_bytes, 60_000)]
    segments += [(0xC4, bytes(17)), (frame, struct.pack(">BHHB", 8, height, width, 1) + bytes(3))]
    marked = [bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data for marker, data in segments]
    return b"\xff\xd8" + b"".join(marked) + b"\xff\xda\x00\x02scan"


def pdf(*pages: str, compressed: bool = False) -> bytes:
    """A PDF with one text per page; `compressed`: with deflated streams."""
    kids = " ".join(f"{number} 0 R" for number in range(10, 10 + len(pages)))
    objects = [(1, b"<</Type/Catalog/Pages 2 0 R>>")]
    for number, text in enumerate(pages):
        shown = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1")
        stream = zlib.compress(shown) if compressed else shown
        filters = b"/Filter/FlateDecode" if compressed else b""
        described = b"<</Length %d%s>>\nstream\n%s\nendstream" % (len(stream), filters, stream)
        page = "<</Type /Page/Parent 2 0 R/Resources<</Font<</F1 3 0 R>>>>/MediaBox[0 0 612 792]/Contents %d 0 R>>"
        objects += [(10 + number, (page % (10_000 + number)).encode()), (10_000 + number, described)]
    objects.append((2, f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode()))
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % each for each in objects)
    return b"%PDF-1.4\n" + body + b"trailer\n<</Root 1 0 R>>\n%%EOF\n"
