"""What units say of real packets, against the packets themselves, other catalogues, and what another broker said.

`ZTF20abyfpze` has 41 detections and 83 upper limits in two bands; of `ZTF18abfisdf`, a long-period variable, the broker
Fink has published the features that it computed.
"""

from collections.abc import Iterator, Mapping
from math import asin, degrees, radians, sin
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd
import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.sources.files import list_files, read_file
from ampel_dagster.units.t2.bayesian_blocks import BayesianBlocks
from ampel_dagster.units.t2.bazin_fit import BazinFit
from ampel_dagster.units.t2.catalog_match import CatalogMatch
from ampel_dagster.units.t2.color_evolution import ColorEvolution
from ampel_dagster.units.t2.from_alert import FromAlert
from ampel_dagster.units.t2.galactic_extinction import GalacticExtinction
from ampel_dagster.units.t2.host_galaxy import HostGalaxy
from ampel_dagster.units.t2.last_limit import LastLimit
from ampel_dagster.units.t2.light_curve_features import LightCurveFeatures
from ampel_dagster.units.t2.light_curve_summary import LightCurveSummary
from ampel_dagster.units.t2.nearby_infant import NearbyInfant
from ampel_dagster.units.t2.periodogram import Periodogram
from ampel_dagster.units.t2.redshift_digest import RedshiftDigest
from ampel_dagster.units.t2.rise_decline import RiseDecline
from ampel_dagster.units.t2.solar_system import SolarSystem
from ampel_dagster.units.t2.stack import Stack
from ampel_dagster.units.t2.xgb_classifier import XgbClassifier
from tests.units.t2.points import STATE

ONE = "ztf/single/v3.3_ampel_ZTF20abyfpze.avro"
BANDS = {1: "g", 2: "r"}


def alerts(path: Path) -> Iterator[tuple[Alert, LightCurve]]:
    """Alerts of files, each with the light curve of its packet."""
    ztf = ZTF()
    for file in list_files([path]):
        for packet in read_file(file):
            assert isinstance(packet, Packet)
            for alert in ztf.decode(packet):
                assert isinstance(alert, Alert)
                yield alert, ztf.light_curve(alert.stock, alert.points)


@pytest.fixture(scope="module")
def curve(data: Path) -> LightCurve:
    return next(alerts(data / ONE))[1]


@pytest.fixture(scope="module")
def rows(data: Path) -> pd.DataFrame:
    """The same packet as another reader has it: one row a detection or limit, in time."""
    with (data / ONE).open("rb") as file:
        (record,) = fastavro.reader(file)
    assert isinstance(record, dict)
    frame = pd.DataFrame([*record["prv_candidates"], record["candidate"]])
    return frame.assign(band=frame["fid"].map(BANDS)).sort_values("jd", ignore_index=True)


def seen(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["magpsf"].notna()]


def body(returned: Any) -> Mapping[str, Any]:
    return returned.body if isinstance(returned, UnitResult) else returned


def test_peak_and_counts(curve: LightCurve, rows: pd.DataFrame) -> None:
    """The brightest detection, times of the first and last one, numbers by band."""
    det = seen(rows)
    peak = det.loc[det["magpsf"].idxmin()]
    assert len(det) == 41
    rise, summary = RiseDecline().process(curve, {}), LightCurveSummary().process(curve, {})
    assert (rise["ndet"], rise["ndet_g"], rise["ndet_r"]) == (41, *(int((det["band"] == b).sum()) for b in "gr"))
    assert (rise["jd_det"], rise["jd_last"]) == (det["jd"].min(), det["jd"].max())
    assert (rise["jd_max"], rise["mag_peak"], rise["band_peak"]) == (peak["jd"], peak["magpsf"], peak["band"])
    assert rise["t_rise"] + rise["t_fall"] == pytest.approx(rise["t_lc"])
    assert (summary["ndet"], summary["n_upper_limits"]) == (41, 83)
    assert (summary["peak_jd"], summary["peak_mag"]) == (peak["jd"], peak["magpsf"])
    # Brighter, and fainter again: by both rules, slopes of lines and differences of magnitudes.
    assert (rise["bool_rise"], rise["bool_fall"], rise["slope_rise_r"] < 0 < rise["slope_fall_r"]) == (True, True, True)


def test_slope_as_numpy_fits_it(curve: LightCurve, rows: pd.DataFrame) -> None:
    det = seen(rows)
    after = det[(det["band"] == "r") & (det["jd"] >= det.loc[det["magpsf"].idxmin(), "jd"])]
    slope, _ = np.polyfit(after["jd"] - after["jd"].mean(), after["magpsf"], 1, w=1 / after["sigmapsf"])
    assert RiseDecline().process(curve, {})["slope_fall_r"] == pytest.approx(slope, rel=1e-6)


def test_last_limit(curve: LightCurve, rows: pd.DataFrame) -> None:
    first = seen(rows).iloc[0]
    before = rows[rows["magpsf"].isna() & (rows["jd"] < first["jd"])].iloc[-1]
    found = LastLimit().process(curve, {})
    assert (found["jd"], found["band"], found["first_jd"]) == (before["jd"], before["band"], first["jd"])
    assert found["mag_limit"] == pytest.approx(before["diffmaglim"], abs=1e-6)
    assert found["days_before"] == pytest.approx(first["jd"] - before["jd"])


def test_colours(curve: LightCurve, rows: pd.DataFrame) -> None:
    """Each g detection with an r detection within a day makes a colour: the nearest one."""
    det = seen(rows)
    g, r = det[det["band"] == "g"], det[det["band"] == "r"]
    colours = []
    for _, point in g.iterrows():
        gap = (r["jd"] - point["jd"]).abs()
        if gap.min() <= 1:
            colours.append(point["magpsf"] - r.loc[gap.idxmin(), "magpsf"])
    found = ColorEvolution().process(curve, {})["g_r"]
    assert (found["n"], len(found["color"])) == (len(colours), len(colours))
    assert found["color"] == pytest.approx(colours, abs=1e-5)


def test_features_as_fink_computed_them(data: Path) -> None:
    """Of the same detections by the same definitions, in another broker."""
    pytest.importorskip("light_curve")
    file = data / "fink" / "science_20190903.parquet"
    truth = pd.read_parquet(file).set_index("objectId").loc["ZTF18abfisdf"]
    names = ("Amplitude", "AndersonDarlingNormal", "BeyondNStd", "Cusum", "Kurtosis", "LinearFit", "LinearTrend")
    names += ("MagnitudePercentageRatio", "MaximumSlope", "Mean", "MeanVariance", "Median", "MedianAbsoluteDeviation")
    names += ("PercentAmplitude", "ReducedChi2", "Skew", "StandardDeviation", "StetsonK", "WeightedMean")
    unit = LightCurveFeatures(features=names, min_points=4).prepare(data)
    (found,) = [unit.process(curve, {}) for _, curve in alerts(file) if curve.name == "ZTF18abfisdf"]
    assert (found["g"].pop("n_points"), found["r"].pop("n_points")) == (4, 6)
    for band in "gr":
        theirs = truth[f"lc_features_{band}"]
        assert len(found[band]) == 23
        for name, value in found[band].items():
            assert value == pytest.approx(theirs[name], rel=1e-6, abs=1e-9), (band, name)


def test_catalogues_as_fink_matched_them(data: Path) -> None:
    """None of its alerts is near a star of VSX or GCVS, or a galaxy of Mangrove."""
    files = {"vsx": "vsx_dev_subset", "gcvs": "gcvs", "mangrove": "mangrove_galaxies"}
    spec: Any = {name: {"radius_arcsec": 1.5, "path": f"catalogs/{file}.parquet"} for name, file in files.items()}
    unit = CatalogMatch(catalogs=spec).prepare(data)
    for file in ("science_20190903", "science_20200101"):
        truth = pd.read_parquet(data / "fink" / f"{file}.parquet")
        assert set(truth["vsx"]) == set(truth["gcvs"]) == {"Unknown"}
        for _, curve in alerts(data / "fink" / f"{file}.parquet"):
            assert {name: found["n_matches"] for name, found in unit.process(curve, {}).items()} == dict.fromkeys(
                files, 0
            )


def test_a_fit_goes_through_the_points(curve: LightCurve) -> None:
    """As close as the errors are, and highest near the brightest detections, at JD 2459110.9."""
    found = BazinFit().process(curve, {})
    assert {band: (fit["n_points"], fit["success"]) for band, fit in found.items()} == {
        "g": (18, True),
        "r": (23, True),
    }
    for fit in found.values():
        assert fit["chisq"] / fit["ndof"] < 1.5
        assert abs(fit["peak_jd"] - 2459110.9) < 4


def test_blocks_are_means_of_the_fluxes(curve: LightCurve) -> None:
    """The last four detections in r, a magnitude fainter, are a block of their own."""
    found = BayesianBlocks().process(curve, {})
    assert (found["g"]["n_in_block"], found["r"]["n_in_block"]) == ([18], [19, 4])
    points = curve.detections.in_band("r")
    for flux, part in zip(found["r"]["flux_njy"], (slice(19), slice(19, None)), strict=True):
        mean = np.average(points.flux_njy[part], weights=1 / points.flux_err_njy[part] ** 2)
        assert flux == pytest.approx(mean, rel=1e-6)


def test_periods_of_eclipsing_binaries(data: Path) -> None:
    """Two minima an orbit: a sine finds half of it, for type EW less than half a day (GCVS: below a day).

    Two of five have enough points; the others say so.
    """
    spec: Any = {"vsx": {"radius_arcsec": 2, "path": "catalogs/vsx_dev_subset.parquet", "columns": ["VType"]}}
    stars = CatalogMatch(catalogs=spec).prepare(data)
    curves = [curve for _, curve in alerts(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz")]
    found = {c.name: Periodogram().process(c, {}) for c in curves if stars.process(c, {})["vsx"].get("VType") == "EW"}
    assert len(found) == 5
    assert {name: "period_days" in result for name, result in found.items()} == {
        name: name in ("ZTF18abehhsc", "ZTF18aakyuii") for name in found
    }
    assert all(0.1 <= result["period_days"] < 0.5 for result in found.values() if "period_days" in result)


def test_galactic_latitude(data: Path, tmp_path: Path) -> None:
    """sin b = sin d sin d0 + cos d cos d0 cos(a - a0), the pole at 192.85948, 27.12825; and a map of 0.1 everywhere."""
    from astropy.io import fits

    for name, pole in (("ngp", 1), ("sgp", -1)):
        header = fits.Header({"CRPIX1": 32.5, "CRPIX2": 32.5, "LAM_NSGP": pole, "LAM_SCAL": 32.0})
        fits.writeto(tmp_path / f"{name}.fits", np.full((64, 64), 0.1, dtype=np.float32), header)
    unit = GalacticExtinction(north="ngp.fits", south="sgp.fits").prepare(tmp_path)
    for alert, curve in alerts(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz"):
        ra, dec, dec0 = radians(alert.candidate["ra"] - 192.85948), radians(alert.candidate["dec"]), radians(27.12825)
        b_deg = degrees(asin(sin(dec) * sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(ra)))
        found = unit.process(curve, {})
        assert found["b_deg"] == pytest.approx(b_deg, abs=1e-3)
        assert (found["ebv"], found["a_mag"]["g"]) == (pytest.approx(0.1), pytest.approx(0.3172))


def test_known_asteroids(data: Path) -> None:
    """Six of the eight packets of 12 October 2023 are of numbered asteroids."""
    found = [SolarSystem().process(STATE, alert.points, {}) for alert, _ in alerts(data / "ztf" / "fp_v4")]
    names = sorted(result["name"] for result in found if result["is_known"])
    assert names == ["161709", "165709", "17495", "50566", "54737", "67586"]
    assert sum(not result["is_known"] for result in found) == 2


def test_fields_of_the_packet(data: Path, rows: pd.DataFrame) -> None:
    alert, _ = next(alerts(data / ONE))
    points = sorted(alert.points, key=lambda point: point.jd)
    for of, row in (("newest", seen(rows).iloc[-1]), ("brightest", rows.loc[rows["magpsf"].idxmin()])):
        found = FromAlert.model_validate({"columns": ("rb", "magpsf", "fid"), "of": of}).process(STATE, points, {})
        assert found == {"jd": row["jd"], "rb": row["rb"], "magpsf": row["magpsf"], "fid": row["fid"]}


def test_from_catalogue_to_host_to_judgement(data: Path) -> None:
    """A detection 6" north of a real galaxy: its distance becomes redshift, kpc and magnitude, all of them tied.

    At 18.4 Mpc, z is 0.0042 (Planck 2018), an arcsecond 88 pc, and the distance modulus 31.3.
    """
    galaxies = pd.read_parquet(data / "catalogs" / "mangrove_galaxies.parquet")
    one = galaxies.iloc[(galaxies["lum_dist"].astype(float) - 18.4).abs().argmin()]
    (alert, curve), *_ = alerts(data / ONE)
    here = curve.to_pandas().assign(ra_deg=float(one["ra"]), dec_deg=float(one["dec"]) + 6 / 3600)
    moved = LightCurve("ztf", alert.stock, curve.name, **{name: here[name].to_numpy() for name in here})
    spec: Any = {"radius_arcsec": 30, "path": "catalogs/mangrove_galaxies.parquet", "match": "all"}
    spec["columns"] = ["HyperLEDA_name", "lum_dist"]
    tied: dict[str, Any] = {"CatalogMatch": CatalogMatch(catalogs={"mangrove": spec}).prepare(data).process(moved, {})}
    assert tied["CatalogMatch"]["mangrove"]["distance_arcsec"] == pytest.approx(6, abs=1e-3)
    sources: Any = [{"catalog": "mangrove", "group": 1, "luminosity_distance_mpc": "lum_dist"}]
    tied["RedshiftDigest"] = body(RedshiftDigest(sources=sources).process(moved, tied))
    assert tied["RedshiftDigest"]["z"] == pytest.approx(0.0042, abs=0.0001)
    columns: Any = {"mangrove": {"luminosity_distance_mpc": "lum_dist", "name": "HyperLEDA_name"}}
    host = tied["HostGalaxy"] = body(HostGalaxy(catalogs=columns).process(moved, tied))
    assert (host["name"], host["position_angle_deg"]) == (one["HyperLEDA_name"], pytest.approx(0, abs=0.01))
    assert host["offset_kpc"] == pytest.approx(6 * 0.088, abs=0.01)
    judged = body(NearbyInfant(max_distance_kpc=1.0).process(moved, tied))
    assert judged["abs_mag_peak"] == pytest.approx(19.54 - 31.32, abs=0.05)
    assert judged["distance_kpc"] == pytest.approx(6 * 0.088, abs=0.01)
    # Seen for 41 days: not young, and nothing but this and its faintness is against it.
    assert not judged["passed"]
    assert {"age_days", "abs_mag_peak"} <= set(judged["failed"])
    row = Stack(columns={"z": "RedshiftDigest.z", "host": "HostGalaxy.name"}).process(STATE, [], tied)
    assert row == {"z": tied["RedshiftDigest"]["z"], "host": one["HyperLEDA_name"], "complete": True}


def test_trees_on_features_of_real_alerts(data: Path, tmp_path: Path) -> None:
    """Trees that learnt from made-up numbers who was seen for more than five days tell it of real alerts."""
    xgboost = pytest.importorskip("xgboost")
    days = np.linspace(0, 40, 801, dtype=np.float32)[:, None]
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 1, "nthread": 1},
        xgboost.DMatrix(days, (days[:, 0] > 5).astype(int)),
        num_boost_round=20,
    )
    booster.save_model(tmp_path / "long.ubj")
    unit = XgbClassifier(model="long.ubj", features=("RiseDecline.t_lc",), classes=("short", "long")).prepare(tmp_path)
    told = []
    for _, curve in alerts(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz"):
        tied = {"RiseDecline": RiseDecline().process(curve, {})}
        if tied["RiseDecline"].get("t_lc") is not None:
            times = curve.detections.where(curve.detections.positive).jd
            told.append((body(unit.process(curve, tied))["best"], "long" if np.ptp(times) > 5 else "short"))
    assert all(found == expected for found, expected in told)
    assert {expected for _, expected in told} == {"short", "long"}
