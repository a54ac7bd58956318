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


def test_fluxes_for_fitting_codes(curve: LightCurve) -> None:
    """Limits have no flux; a point of which flux or error is unknown is no use."""
    table = curve.flux_table()
    assert list(table) == ["time", "band", "flux", "fluxerr", "zp", "zpsys", "limit"]
    assert table["time"].tolist() == [1.0, 3.0, 4.0]
    assert table["band"].tolist() == ["ztfr", "ztfg", "ztfr"]
    assert table["flux"].tolist() == [1.0, -2.0, 3.0]
    assert table["fluxerr"].tolist() == [0.1, 0.1, 0.1]
    assert set(table["zp"]) == {31.4}
    assert set(table["zpsys"]) == {"ab"}
    curve.flux_err_njy[0] = NAN
    curve.flux_njy[2] = NAN
    assert curve.flux_table()["time"].tolist() == [4.0]


def test_upper_limits_in_the_flux_table() -> None:
    """A limit of 28.9 mag is 10 nJy at five sigma: nothing, with an error of 2 nJy."""
    seen = (1, 2.5, "detection", "r", 26.4, 0.1, 28.9, 100.0, 9.2, True, 150.0, 20.0)
    unseen = (2, 1.5, "upper_limit", "g", NAN, NAN, 28.9, NAN, NAN, True, NAN, NAN)
    without_depth = (3, 3.5, "upper_limit", "g", NAN, NAN, NAN, NAN, NAN, True, NAN, NAN)
    curve = LightCurve.from_rows("ztf", 7, "ZTF18aaaaaaa", [unseen, seen, without_depth])
    table = curve.flux_table(upper_limits=True)
    assert table["time"].tolist() == [1.5, 2.5]
    assert table["flux"].tolist() == [0.0, 100.0]
    assert table["fluxerr"].tolist() == pytest.approx([2.0, 9.2])
    assert table["limit"].tolist() == pytest.approx([10.0, 10.0])
    assert curve.flux_table()["time"].tolist() == [2.5]
    assert curve.flux_njy[0] != 0  # the curve itself is as it was


def test_what_shows_nothing(curve: LightCurve) -> None:
    """Limits, and forced fluxes within three errors of zero, if their depth is known."""
    assert curve.non_detections.id.tolist() == [-5]  # the forced flux is 30 sigma
    for flux, quiet in ((0.3, True), (-0.3, True), (0.31, False), (-0.31, False), (NAN, False)):
        curve.flux_njy[3] = flux
        assert curve.shows_nothing.tolist() == [False, True, False, quiet], flux
    curve.mag_limit[1] = NAN
    assert len(curve.non_detections) == 0


def test_rows_become_columns() -> None:
    rows = [(BIG, 1.5, "detection", "r", 18.0, 0.1, 20.0, 1.0, 0.1, True, 150.0, 20.0)]
    curve = LightCurve.from_rows("ztf", 7, "ZTF18aaaaaaa", rows)
    assert [getattr(curve, name)[0] for name in COLUMNS] == list(rows[0])
    assert (curve.id.dtype, curve.jd.dtype, curve.positive.dtype) == (np.int64, np.float64, np.bool_)
    empty = LightCurve.from_rows("ztf", 7, "ZTF18aaaaaaa", [])
    assert len(empty) == 0
    assert [getattr(empty, name).dtype.kind for name in COLUMNS] == [
        getattr(curve, name).dtype.kind for name in COLUMNS
    ]
    assert len(empty.flux_table()) == 0
