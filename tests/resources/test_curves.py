"""Light curves as small images in the Dagster UI."""

import re
from base64 import b64decode
from typing import Any

from ampel_dagster.model.light_curve import LightCurve
from resources.curves import HEIGHT, WIDTH, curve_image


def curve(*points: tuple[float, str, str, float]) -> LightCurve:
    """Points of (jd, kind, band, magnitude or limit)."""
    rows: list[tuple[Any, ...]] = []
    for n, (jd, kind, band, mag) in enumerate(points):
        limit = kind == "upper_limit"
        nothing = float("nan")
        rows.append(
            (n, jd, kind, band, nothing if limit else mag, 0.1, mag if limit else nothing, 1.0, 0.1, True, 150.0, 2.0)
        )
    return LightCurve.from_rows("ztf", 1, "a", rows)


def svg(image: str) -> str:
    match = re.search(r"base64,([\w+/=]+)\)", image)
    assert match is not None
    return b64decode(match[1]).decode()


def test_brighter_is_higher_and_later_is_further_right() -> None:
    image = curve_image(curve((1.0, "detection", "g", 20.0), (3.0, "detection", "r", 18.0)))
    paths = re.findall(r'd="M(\d+) (\d+)h0" stroke="(#\w+)"', svg(image))
    # Eight pixels are left free on each side.
    assert paths == [("8", str(HEIGHT - 8), "#008f68"), (str(WIDTH - 8), "8", "#d55e00")]
    assert image.endswith("2 points, 2.0 days, 18.00 to 20.00 mag")


def test_limits_are_ticks_and_forced_points_are_left_out() -> None:
    image = svg(
        curve_image(curve((1.0, "upper_limit", "g", 20.0), (2.0, "detection", "g", 19.0), (3.0, "forced", "g", 1.0)))
    )
    assert re.findall(r"M\d+ \d+([hv]\d)", image) == ["h0", "v5"]


def test_one_point_is_in_the_middle() -> None:
    assert f"M{WIDTH // 2} {HEIGHT // 2}h0" in svg(curve_image(curve((1.0, "detection", "g", 20.0))))


def test_nothing_to_draw() -> None:
    assert curve_image(curve()) == "no points"
    assert curve_image(curve((1.0, "detection", "g", float("nan")))) == "no points"


def test_images_stay_small_however_many_points_there_are() -> None:
    many = curve(*((float(n), "detection", "gr"[n % 2], 18 + n % 7) for n in range(5000)))
    image = curve_image(many)
    # The UI shows markdown of less than 1000 characters without being asked to.
    assert len(image) < 1000
    # The newest are drawn.
    found = re.search(r"(\d+) points, (\d+)\.0 days", image)
    assert found is not None
    assert int(found[1]) == int(found[2]) + 1 >= 30
    assert len(svg(image).split("h0")) - 1 == int(found[1])
