"""Sizes are read from the first bytes of images, and pages from the ends of PDFs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.media import gif, jpeg, pdf, png, webp
from tidegate.gateway.receive.media_size import image_pixels, pdf_pages

IMAGES = {
    "png": png(640, 480),
    "gif": gif(640, 480),
    "webp lossy": webp(640, 480),
    "webp lossless": webp(640, 480, "VP8L"),
    "webp extended": webp(640, 480, "VP8X"),
    "jpeg": jpeg(640, 480),
    "jpeg progressive": jpeg(640, 480, frame=0xC2),
    "jpeg with profiles": jpeg(640, 480, profile_bytes=150_000),
    "jpeg with padding": b"\xff\xd8\xff\xff\xff\x01" + jpeg(640, 480)[2:],
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())
def test_width_and_height_come_first(image: bytes) -> None:
    assert image_pixels(image) == (640, 480)


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES.keys())
def test_a_truncated_beginning_gives_the_same_size_or_none(image: bytes) -> None:
    assert {image_pixels(image[:length]) for length in range(min(len(image), 400))} <= {None, (640, 480)}


@pytest.mark.parametrize("data", [b"", b"text", png(0, 480), gif(640, 0), b"\xff\xd8\xff\xda\x00\x02", b"\xff\xd8\x00"])
def test_data_that_is_no_image_has_no_size(data: bytes) -> None:
    assert image_pixels(data) is None


@given(st.sampled_from([b"", *(image[:16] for image in IMAGES.values())]), st.binary())
def test_any_bytes_have_a_size_above_zero_or_none(start: bytes, rest: bytes) -> None:
    pixels = image_pixels(start + rest)
    assert pixels is None or min(pixels) > 0


def test_pages_are_counted_where_the_root_of_the_pages_is() -> None:
    whole = pdf(*["text"] * 12)
    assert pdf_pages(whole, whole) == 12
    assert pdf_pages(whole[:200], whole[-200:]) == 12, "at the end"
    assert pdf_pages(whole[-200:], b"") == 12, "at the beginning"


def test_a_linearized_pdf_says_it_at_once() -> None:
    head = b"%PDF-1.5\n1 0 obj\n<</Linearized 1/L 12345/H [ 10 20 ]/O 5/E 999/N 37/T 1200>>\nendobj\n"
    assert pdf_pages(head, b"") == 37


@pytest.mark.parametrize(
    ("part", "pages"),
    [
        (b"<</Type /Outlines /Count 900>> <</Count 7/Type/Pages/Kids[1 0 R]/Resources<</X 1>>>>", 7),
        (b"<</Type/Pages/Count 3>> <</Type/Pages/Count 9/Parent 1 0 R>>", 9),
        (b"<</Type/Page>> <</Type /Page/Parent 1 0 R>> <</Type/Catalog/Pages 2 0 R>>", 2),
        (b">> >> <</Type/Pages/Count 0>>", None),
        (b"compressed", None),
    ],
)
def test_counts_of_other_things_are_not_those_of_pages(part: bytes, pages: int | None) -> None:
    assert pdf_pages(b"%PDF-1.7\n" + part, b"") == pages


@given(st.lists(st.sampled_from([b"<<", b">>", b"/Type/Pages", b"/Type /Page", b"/Count 5", b" x"])).map(b"".join))
def test_any_pdf_can_be_looked_at(part: bytes) -> None:
    pages = pdf_pages(part, part)
    assert pages is None or 0 < pages <= max(5, part.count(b"/Type /Page"))
