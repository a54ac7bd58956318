"""A supernova model that is fitted: what was put in is found again."""

import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.sources.files import read_file
from ampel_dagster.units.t2.bayesian_blocks import BayesianBlocks
from ampel_dagster.units.t2.bazin_fit import BazinFit
from ampel_dagster.units.t2.periodogram import Periodogram
from ampel_dagster.units.t2.sn_fit import DID_NOT_CONVERGE, NO_REDSHIFT, TOO_FEW_POINTS, SNFit
from tests.units.t2.curves import flux_curve

JD = 2458700.0


BANDS = {"ztfg": "P48_g.dat", "ztfr": "P48_R.dat"}


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
    return folder


def fit(folder: Path, **config: Any) -> SNFit:
    unit = SNFit(model_folder="salt3", bands=BANDS, **{"redshift": 0.05, **config}).prepare(folder)
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
    unit = SNFit(model_folder="salt3", redshift=0.05, bands={f"lsst{b[3:]}": file for b, file in BANDS.items()})
    found = unit.prepare(models).process(rubin, {})  # type: ignore[attr-defined]
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
