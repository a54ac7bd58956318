"""A supernova model that is fitted: what was put in is found again."""

import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampel_dagster.instruments.lsst import LSST
from ampel_dagster.instruments.pgir import PGIR
from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.sources.files import read_file
from ampel_dagster.testing import make_dia_forced_source, make_dia_source, make_lsst_alert
from ampel_dagster.units.t2.bayesian_blocks import BayesianBlocks
from ampel_dagster.units.t2.bazin_fit import BazinFit
from ampel_dagster.units.t2.periodogram import Periodogram
from ampel_dagster.units.t2.sn_fit import DID_NOT_CONVERGE, NO_REDSHIFT, TOO_FEW_POINTS, SNFit
from tests.units.t2.curves import flux_curve

JD = 2458700.0


BANDS = {"ztfg": "P48_g.dat", "ztfr": "P48_R.dat"}
#: Where Rubin's filters are half open, in nm. Source: LSST Science Book, version 2, table 2.1.
RUBIN_NM = {"u": (320, 400), "g": (400, 552), "r": (552, 691), "i": (691, 818), "z": (818, 922), "y": (950, 1080)}
LSST_BANDS = {f"lsst{band}": f"total_{band}.dat" for band in RUBIN_NM}


@pytest.fixture(scope="module")
def models(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An instance folder with SALT3 and ZTF's filters."""
    pytest.importorskip("sncosmo", reason="sncosmo is not installed (it comes as source only)")
    folder = tmp_path_factory.mktemp("models")
    with tarfile.open(data / "models" / "salt3" / "salt3-f22.tar.xz") as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (model,) = {path.parent for path in (folder / "unpacked").rglob("salt3_template_0.dat*")}
    model.rename(folder / "salt3")
    for file in ("P48_g.dat", "P48_R.dat"):
        (folder / file).write_bytes((data / "models" / "salt3" / file).read_bytes())
    for band, (first_nm, last_nm) in RUBIN_NM.items():
        # As in Rubin's files: a comment, nm, and from one end of the detector to the other a leak of 1e-5.
        rows = [f"{nm} {0.4 if first_nm <= nm <= last_nm else 1e-5}" for nm in range(300, 1151)]
        (folder / LSST_BANDS[f"lsst{band}"]).write_text("\n".join(["# Wavelength(nm) Throughput(0-1)", *rows]))
    return folder


def fit(folder: Path, **config: Any) -> SNFit:
    unit = SNFit(model_folder="salt3", **{"bands": BANDS, "redshift": 0.05, **config}).prepare(folder)
    assert isinstance(unit, SNFit)
    return unit


def made(folder: Path, z: float = 0.05, noise: float = 0.02, ebv: float = 0.0) -> tuple[Any, dict[str, float]]:
    """A supernova Ia of known parameters, seen every other night in g and r."""
    import sncosmo

    from ampel_dagster.units.t2.sn_fit import load_band, load_source

    source = load_source("salt3", folder / "salt3")
    model = sncosmo.Model(source=source, effects=[sncosmo.F99Dust()], effect_names=["mw"], effect_frames=["obs"])
    true = {"t0": JD + 20.0, "x0": 1e-2, "x1": 0.8, "c": -0.05}
    model.set(z=z, mwebv=ebv, **true)
    jd = np.concatenate([JD + np.arange(2, 60, 2.0), JD + np.arange(3, 60, 2.0)])
    band = np.array(["g"] * 29 + ["r"] * 29)
    passes = [load_band(f"ztf{b}", folder / BANDS[f"ztf{b}"]) for b in band]
    flux = np.array([model.bandflux(p, t, zp=31.4, zpsys="ab") for p, t in zip(passes, jd, strict=True)])
    error = noise * flux.max() * np.ones(len(flux))
    return flux_curve(jd, list(band), flux + np.random.default_rng(4).normal(0, error), error), true


@pytest.mark.parametrize("ebv", [0.0, 0.3])
def test_supernova_ia_is_found_again(models: Path, ebv: float) -> None:
    curve, true = made(models, ebv=ebv)
    found = fit(models, mw_ebv=ebv).process(curve, {})
    assert found.code == 0
    parameters, errors = found.body["parameters"], found.body["errors"]
    for name, value in true.items():
        assert abs(parameters[name] - value) < 4 * errors[name], name
    assert errors["t0"] < 0.3
    assert found.body["chisq_per_dof"] == pytest.approx(1, abs=0.5)
    assert (found.body["z"], found.body["z_source"], found.body["vparams"]) == (0.05, "fixed", ["t0", "x0", "x1", "c"])
    assert np.array(found.body["covariance"]).shape == (4, 4)


def test_another_survey_needs_its_bands_and_nothing_else(models: Path) -> None:
    """The same light through the same glass, sent by Rubin."""
    curve, true = made(models)
    rubin = replace(curve, survey="lsst")
    found = fit(models, bands={f"lsst{band[3:]}": file for band, file in BANDS.items()}).process(rubin, {})
    assert found.body["parameters"] == fit(models).process(curve, {}).body["parameters"]
    assert all(
        abs(found.body["parameters"][key] - value) < 4 * found.body["errors"][key] for key, value in true.items()
    )
    assert fit(models).process(rubin, {}).code == TOO_FEW_POINTS  # it knows ZTF's bands only


def test_dust_that_is_forgotten_makes_it_redder(models: Path) -> None:
    curve, true = made(models, ebv=0.3)
    assert fit(models).process(curve, {}).body["parameters"]["c"] > true["c"] + 0.15


def test_redshift_from_another_unit_or_fitted(models: Path) -> None:
    curve, _ = made(models)
    unit = fit(models, redshift=None, redshift_from="RedshiftDigest.z")
    assert unit.requires == ("RedshiftDigest",)
    assert unit.process(curve, {"RedshiftDigest": {"z": 0.05}}).body["z_source"] == "tied"
    assert unit.process(curve, {"RedshiftDigest": {"z": None}}).code == NO_REDSHIFT
    fitted = fit(models, redshift=None, fit_redshift=True).process(curve, {})
    assert fitted.body["z_source"] == "fitted"
    assert abs(fitted.body["z"] - 0.05) < 4 * fitted.body["errors"]["z"]


def test_too_few_points(models: Path) -> None:
    curve, _ = made(models)
    few = curve.where(np.arange(len(curve)) < 4)
    assert fit(models).process(few, {}).code == TOO_FEW_POINTS
    assert fit(models, min_snr=1e6).process(curve, {}).code == TOO_FEW_POINTS
    assert DID_NOT_CONVERGE not in (0, NO_REDSHIFT, TOO_FEW_POINTS)


def test_data_versions_name_model_and_bands(models: Path) -> None:
    versions = fit(models).data_versions()
    assert set(versions) == {"model", "band ztfg", "band ztfr"}
    assert all(len(version) == 16 for version in versions.values())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_folder": "salt4"}, "there is no folder"),
        ({"bands": {"ztfg": "absent.dat"}}, "bands.ztfg: there is no file"),
    ],
)
def test_what_is_missing_is_said_when_the_configuration_is_read(
    models: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SNFit(**{"model_folder": "salt3", "bands": BANDS, "redshift": 0.1, **config}).prepare(models)


@pytest.mark.parametrize("name", ["ZTF18abxhyqv", "ZTF18acruwxq"])
def test_real_packets(models: Path, data: Path, name: str) -> None:
    """Whatever they are: the units give numbers, or codes that say why not."""
    ztf, points = ZTF(), {}
    for packet in read_file(data / "ztf" / f"{name}.tar.gz"):
        assert isinstance(packet, Packet)
        for alert in ztf.decode(packet):
            assert isinstance(alert, Alert)
            points.update({point.id: point for point in alert.points})
    curve = ztf.light_curve(ztf.stock_id(name), list(points.values()))
    assert len(curve.detections) > 5
    found = fit(models).process(curve, {})
    assert found.code in (0, TOO_FEW_POINTS, DID_NOT_CONVERGE)
    for unit in (BazinFit(), BayesianBlocks(), Periodogram()):
        assert unit.process(curve, {})


# --- other surveys


def rubin_fit(folder: Path, z: float, **config: Any) -> SNFit:
    return fit(folder, bands=LSST_BANDS, bands_in_nm=tuple(LSST_BANDS), redshift=z, **config)


def sent_by_rubin(folder: Path, z: float, abs_mag: float, x1: float, c: float, t0_mjd_tai: float) -> LightCurve:
    """A supernova of this absolute magnitude (B, AB), as a packet of Rubin's tells of it: its forced fluxes."""
    import sncosmo
    from astropy.cosmology import Planck18

    from ampel_dagster.units.t2.sn_fit import load_band, load_source

    model = sncosmo.Model(source=load_source("salt3", folder / "salt3"))
    # In the packets' own times: 37 s of TAI - UTC must come out by themselves.
    model.set(z=z, t0=t0_mjd_tai, x1=x1, c=c)
    model.set_source_peakabsmag(abs_mag, "bessellb", "ab", cosmo=Planck18)
    chance, error_njy = np.random.default_rng(7), 250.0
    history, forced = [], []
    for night in range(-40, 60, 2):
        band = "griz"[night // 2 % 4]
        mjd = t0_mjd_tai + night
        in_nm = load_band(f"lsst{band}", folder / LSST_BANDS[f"lsst{band}"], True)
        # 3631 Jy have magnitude 0 in the AB system, whatever the zero point of a table.
        with np.errstate(divide="ignore"):  # before it explodes
            flux = np.nan_to_num(3631e9 * 10 ** (-0.4 * model.bandmag(in_nm, "ab", mjd)))
        row = {"mjd_tai": mjd, "band": band, "flux_err_njy": error_njy}
        measured = float(flux + chance.normal(0, error_njy))
        forced.append(make_dia_forced_source(flux_njy=measured, **row))
        if measured > 5 * error_njy:
            history.append(make_dia_source(flux_njy=measured, **row))
    last = history.pop()
    packet = make_lsst_alert(history=history, forced=forced) | {"diaSource": last}
    (alert,) = LSST().decode(Packet(json.dumps(packet).encode(), "made", 0))
    assert isinstance(alert, Alert)
    # Detections are also among the forced fluxes of their images: a fit wants each image once.
    return LSST().light_curve(alert.stock, [point for point in alert.points if point.kind == "forced"])


@pytest.mark.parametrize("z", [0.05, 0.2])
def test_supernova_of_rubins_is_found_again(models: Path, z: float) -> None:
    curve = sent_by_rubin(models, z, abs_mag=-19.2, x1=0.7, c=0.05, t0_mjd_tai=61000.0)
    assert set(curve.kind) == {"forced"}
    # Nights before the explosion are limits, of 5 x 250 nJy, in the light curve of a survey that sends none.
    assert len(curve.non_detections) > 8
    assert curve.non_detections.mag_limit == pytest.approx(31.4 - 2.5 * np.log10(1250.0))
    found = rubin_fit(models, z).process(curve, {})
    assert found.code == 0
    parameters, errors = found.body["parameters"], found.body["errors"]
    for name, true in {"t0": 61000.0 + 2400000.5 - 37 / 86400, "x1": 0.7, "c": 0.05}.items():
        assert abs(parameters[name] - true) < 4 * errors[name], name
        assert errors[name] < {"t0": 0.3, "x1": 0.3, "c": 0.05}[name]
    assert found.body["peak_abs_mag_b"] == pytest.approx(-19.2, abs=0.05)
    assert found.body["chisq_per_dof"] == pytest.approx(1, abs=0.5)


def test_a_band_that_the_model_does_not_reach_is_left_out(models: Path) -> None:
    """SALT3 ends at 11000 Å in the rest frame: J lies beyond."""
    (models / "J.dat").write_text("11000 0.0\n12000 0.4\n13000 0.4\n14000 0.0\n")
    curve, _ = made(models)
    more = flux_curve([*curve.jd, JD + 20.0], [*curve.band, "J"], [*curve.flux_njy, 1e7], [*curve.flux_err_njy, 1.0])
    plain = fit(models).process(curve, {}).body
    assert plain["n_points"] == 58
    found = fit(models, bands={**BANDS, "ztfJ": "J.dat"}).process(more, {}).body
    assert found["n_points"] == plain["n_points"]
    assert found["parameters"]["c"] == pytest.approx(plain["parameters"]["c"], abs=1e-3)


def test_units_of_wavelength_are_told_apart(models: Path) -> None:
    with pytest.raises(ValueError, match=r"bands.lsstu: .* lies at 3\d\d Å; is it in nm\? then add it to bands_in_nm"):
        fit(models, bands=LSST_BANDS)
    with pytest.raises(ValueError, match="take it out of bands_in_nm"):
        fit(models, bands_in_nm=("ztfg",))
    with pytest.raises(ValueError, match="bands_in_nm names lsstg, which is none of the bands; there are: ztfg, ztfr"):
        fit(models, bands_in_nm=("lsstg",))
    (models / "words.dat").write_text("wavelength throughput\n")
    with pytest.raises(ValueError, match="has no two columns of numbers"):
        fit(models, bands={"ztfg": "words.dat"})


def test_a_real_alert_of_rubins(models: Path, data: Path) -> None:
    """21 detections in g, r, i and z."""
    (packet,) = read_file(data / "lsst" / "alert_169641461369274412.json")
    assert isinstance(packet, Packet)
    (alert,) = LSST().decode(packet)
    assert isinstance(alert, Alert)
    curve = LSST().light_curve(alert.stock, alert.points)
    found = rubin_fit(models, 0.1).process(curve, {})
    assert (found.code, found.body["n_points"] <= 21) == (0, True)
    assert all(np.isfinite(list(found.body["parameters"].values())))


def test_real_alerts_in_the_infrared(models: Path, data: Path) -> None:
    """The model has no spectrum there: a code, no exception."""
    (models / "J.dat").write_text("11000 0.0\n12000 0.4\n13000 0.4\n14000 0.0\n")
    (packet,) = read_file(data / "other_surveys" / "pgir" / "114297926.avro")
    assert isinstance(packet, Packet)
    (alert,) = PGIR().decode(packet)
    assert isinstance(alert, Alert)
    curve = PGIR().light_curve(alert.stock, alert.points)
    found = fit(models, bands={"pgirJ": "J.dat"}).process(curve, {})
    assert (found.code, found.body["n_points"]) == (DID_NOT_CONVERGE, 70)  # the candidate is in the history, too
