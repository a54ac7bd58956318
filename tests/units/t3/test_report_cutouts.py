"""Stamps: bytes of an alert to pixels on a page, or to words where that cannot be."""

import base64
import gzip
import io
import re

import numpy as np
import pytest
from astropy.io import fits
from numpy.typing import NDArray

from ampel_dagster.units.t3._report_cutouts import cutout_figures, png, read_stamp, stretch


def as_fits(pixels: NDArray[np.float64], *, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    if compressed:
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels)]).writeto(buffer)
    else:
        fits.PrimaryHDU(pixels).writeto(buffer)
    return buffer.getvalue()


NOISE = np.random.default_rng(1).normal(100, 5, (63, 63))
STAMP = gzip.compress(as_fits(NOISE), mtime=0)


def test_reads_gzipped_and_plain_fits_and_the_first_image_of_several() -> None:
    several = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(NOISE), fits.ImageHDU(NOISE * 0)]).writeto(several)
    for data in (STAMP, as_fits(NOISE), several.getvalue()):
        np.testing.assert_array_equal(read_stamp(data), NOISE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        b"\x1f\x8bbroken",
        STAMP[:2000],
        gzip.compress(STAMP),
        gzip.compress(b"SIMPLE  =                    T"),
        gzip.compress(b"SIMPLE" + bytes(20_000_000)),
        as_fits(np.full((5, 5), np.nan)),
        as_fits(np.zeros((2, 2000))),
        as_fits(np.zeros((4, 4, 4))),
        as_fits(NOISE, compressed=True),
    ],
    ids=[
        "empty",
        "text",
        "gzip",
        "cut off",
        "packed twice",
        "head only",
        "too many bytes",
        "nothing known",
        "too wide",
        "cube",
        "compressed image",
    ],
)
def test_what_cannot_be_read_says_so_beside_what_can(data: bytes) -> None:
    html = cutout_figures({"science": data, "template": STAMP})
    assert html.count("not readable") == 1
    assert html.count("<img") == 1


def test_a_png_has_row_one_at_the_bottom() -> None:
    image = pytest.importorskip("matplotlib.image")
    grey = np.zeros((4, 6), dtype=np.uint8)
    grey[0, 5] = 255
    shown = image.imread(io.BytesIO(png(grey)))
    assert shown.shape == (4, 6)
    assert shown[3, 5] == 1
    assert np.count_nonzero(shown) == 1


def test_the_sky_of_a_difference_is_grey_and_what_faded_is_black() -> None:
    pixels = NOISE - 100
    pixels[30:34, 30:34] = -500
    pixels[0, 0] = np.nan
    shown = stretch(pixels, signed=True)
    assert shown[31, 31] == 0
    assert abs(int(np.median(shown)) - 127) <= 1
    assert abs(int(shown[0, 0]) - 127) <= 1
    assert stretch(NOISE, signed=False).max() == 255


def test_an_image_of_one_value_is_shown() -> None:
    for signed in (True, False):
        assert len(np.unique(stretch(np.full((3, 3), 7.0), signed=signed))) == 1


def test_names_of_stamps_are_escaped_and_ordered() -> None:
    html = cutout_figures({"<b>": STAMP, "difference": STAMP, "science": STAMP})
    assert re.findall("<figcaption>(.*?)</figcaption>", html) == ["science", "difference", "&lt;b&gt;"]
    assert "<b>" not in html
    assert base64.b64decode(re.findall('base64,(.*?)"', html)[0]).startswith(b"\x89PNG")
