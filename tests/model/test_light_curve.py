"""Light curves: columns that stay together."""

import numpy as np
import pandas as pd
import pytest

from ampel_dagster.model.light_curve import COLUMNS, LightCurve

NAN = float("nan")
BIG = 9_007_199_254_740_993  # 2**53 + 1: a float cannot hold it


@pytest.fixture
def curve() -> LightCurve:
    """Two detections, a limit between them, forced photometry at the end."""
    return LightCurve(
        survey="ztf",
        stock=7,
        name="ZTF18aaaaaaa",
        id=np.array([BIG, -5, 2, 3]),
        jd=np.array([1.0, 2.0, 3.0, 4.0]),
        kind=np.array(["detection", "upper_limit", "detection", "forced"]),
        band=np.array(["r", "g", "g", "r"]),
        mag=np.array([18.0, NAN, 19.0, NAN]),
        mag_err=np.array([0.1, NAN, 0.2, NAN]),
        mag_limit=np.array([20.0, 20.5, NAN, 21.0]),
        flux_njy=np.array([1.0, NAN, -2.0, 3.0]),
        flux_err_njy=np.array([0.1, NAN, 0.1, 0.1]),
        positive=np.array([True, True, False, True]),
        ra_deg=np.array([150.0, NAN, 150.1, NAN]),
        dec_deg=np.array([20.0, NAN, 20.1, NAN]),
    )


def test_parts_keep_their_rows_together(curve: LightCurve) -> None:
    assert len(curve) == 4
    assert curve.detections.id.tolist() == [BIG, 2]
    assert curve.detections.mag.tolist() == [18.0, 19.0]
    assert curve.upper_limits.mag_limit.tolist() == [20.5]
    assert curve.of_kind("upper_limit", "forced").jd.tolist() == [2.0, 4.0]
    assert curve.in_band("g").kind.tolist() == ["upper_limit", "detection"]
    assert curve.where(~curve.positive).id.tolist() == [2]
    assert curve.detections.in_band("g").where(curve.detections.in_band("g").mag < 0).jd.tolist() == []


def test_parts_are_of_the_same_object(curve: LightCurve) -> None:
    part = curve.detections.in_band("r")
    assert (part.survey, part.stock, part.name) == ("ztf", 7, "ZTF18aaaaaaa")
    assert len(curve) == 4


def test_bands_are_sorted_text(curve: LightCurve) -> None:
    assert curve.bands == ["g", "r"]
    assert all(type(band) is str for band in curve.bands)
    assert curve.of_kind("forced").bands == ["r"]


def test_nothing_is_a_light_curve_too(curve: LightCurve) -> None:
    nothing = curve.in_band("i")
    assert (len(nothing), nothing.bands, len(nothing.detections)) == (0, [], 0)
    assert list(nothing.to_pandas().columns) == list(COLUMNS)


def test_table_has_one_row_a_point(curve: LightCurve) -> None:
    frame = curve.to_pandas()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["id"].tolist() == [BIG, -5, 2, 3]
    assert frame["mag"].isna().tolist() == [False, True, False, True]
    assert frame["positive"].dtype == bool
    assert isinstance(frame, pd.DataFrame)
    frame.loc[0, "mag"] = 1.0
    assert curve.mag[0] == 18.0
