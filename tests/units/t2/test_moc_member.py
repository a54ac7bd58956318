"""Regions of known extent, and positions of known distance."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from mocpy import MOC

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.selection import Cone
from ampel_dagster.sources.files import read_file
from ampel_dagster.units.t2._sky_region import ProbabilityMap, read_coverage, read_region
from ampel_dagster.units.t2.moc_member import MocMember
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit

#: Square degrees of the sky.
SKY_DEG2 = 41252.961


def at(ra_deg: float, dec_deg: float) -> LightCurve:
    return light_curve(detection(1.0, "g", 18.0, ra=ra_deg, dec=dec_deg))


def cone(path: Path, ra_deg: float, dec_deg: float, radius_deg: float, form: str = "fits") -> Path:
    from astropy.coordinates import Angle, Latitude, Longitude

    path.parent.mkdir(parents=True, exist_ok=True)
    # Pixels of order 11 are 0.03 deg wide; those that touch the circle belong to the region.
    centre = Longitude(ra_deg, unit="deg"), Latitude(dec_deg, unit="deg")
    moc = MOC.from_cone(*centre, radius=Angle(radius_deg, unit="deg"), max_depth=11)
    moc.save(str(path), format=form)
    return path


def members(folder: Path, curve: LightCurve, **regions: Any) -> Mapping[str, Any]:
    return MocMember(regions=regions).prepare(folder).process(curve, {})


def batch(unit: MocMember, curves: list[LightCurve]) -> Any:
    points = pd.concat([curve.to_pandas().assign(curve=n) for n, curve in enumerate(curves)], ignore_index=True)
    return unit.process_batch(points, [{}] * len(curves))


@pytest.mark.parametrize(
    ("form", "file"), [("fits", "a.fits"), ("json", "a.json"), ("ascii", "a.moc"), ("ascii", "a.txt")]
)
@pytest.mark.parametrize(
    ("ra_deg", "dec_deg", "inside"),
    [
        (359.0, 0.0, True),
        # Across ra 0, 4.9 and 5.1 degrees to the east along the equator, and to the north.
        (3.9, 0.0, True),
        (4.1, 0.0, False),
        (359.0, 4.9, True),
        (359.0, -5.1, False),
        (179.0, 0.0, False),
    ],
)
def test_a_circle_of_5_degrees(
    tmp_path: Path, form: str, file: str, ra_deg: float, dec_deg: float, inside: bool
) -> None:
    cone(tmp_path / "regions" / file, 359.0, 0.0, 5.0, form)
    assert members(tmp_path, at(ra_deg, dec_deg), a={}) == {"a": {"inside": inside}}


def test_sky_fraction(tmp_path: Path) -> None:
    """A cap of radius r covers (1 - cos r) / 2 of the sky, a base pixel a twelfth."""
    fraction = read_coverage(cone(tmp_path / "a.fits", 10.0, 80.0, 20.0)).sky_fraction
    # Those of 20 and 20.03 degrees: the rim is one pixel wide at most.
    assert 0.030154 <= fraction <= 0.030244
    (tmp_path / "b.json").write_text('{"0": [4]}')
    assert read_coverage(tmp_path / "b.json").sky_fraction == pytest.approx(1 / 12, abs=1e-15)


def test_several_regions_with_paths_of_their_own(tmp_path: Path) -> None:
    """Base pixel 4 is around ra 0 on the equator, 0 to the north of it, from ra 0 to 90."""
    (tmp_path / "fields").mkdir()
    (tmp_path / "fields" / "equator.moc").write_text("0/4")
    (tmp_path / "north.json").write_text('{"0": [0]}')
    regions: dict[str, Any] = {
        "equator": {"path": "fields/equator.moc"},
        "north": {"path": str(tmp_path / "north.json")},
    }
    assert members(tmp_path, at(0.0, 0.0), **regions) == {"equator": {"inside": True}, "north": {"inside": False}}
    assert members(tmp_path, at(45.0, 45.0), **regions) == {"equator": {"inside": False}, "north": {"inside": True}}


@pytest.fixture
def skymap(tmp_path: Path) -> Path:
    """Half of the probability in the southern quarter of base pixel 0, 0.3 in its eastern quarter, 0.15 in base
    pixel 4, and 0.05 spread over the rest: 42 quarters."""
    quarter_sr = 4 * np.pi / 48
    rest = 0.05 / 42 / quarter_sr
    # UNIQ is 4 * 4**order + pixel: 16 … for order 1, 4 … for order 0.
    density = {16: 0.5 / quarter_sr, 17: 0.3 / quarter_sr, 18: rest, 19: rest, 8: 0.15 / (4 * quarter_sr)}
    density |= {4 + pixel: rest for pixel in range(1, 12) if pixel != 4}
    path = tmp_path / "regions" / "gw.fits"
    path.parent.mkdir()
    table = Table({"UNIQ": np.array(list(density), dtype="i8"), "PROBDENSITY": np.array(list(density.values()))})
    table.write(path)
    table.write(tmp_path / "regions" / "packed.fits.gz")
    return path


@pytest.mark.parametrize(
    ("ra_deg", "dec_deg", "level", "probability_per_deg2"),
    [
        (45.0, 19.471, 0.5, 0.5 / (SKY_DEG2 / 48)),
        (67.5, 41.81, 0.8, 0.3 / (SKY_DEG2 / 48)),
        (0.0, 0.0, 0.95, 0.15 / (SKY_DEG2 / 12)),
        (22.5, 41.81, 1.0, 0.05 / 42 / (SKY_DEG2 / 48)),
        (200.0, -60.0, 1.0, 0.05 / 42 / (SKY_DEG2 / 48)),
    ],
)
@pytest.mark.parametrize("name", ["gw", "packed"])
def test_levels_of_a_map_of_probability(
    skymap: Path, name: str, ra_deg: float, dec_deg: float, level: float, probability_per_deg2: float
) -> None:
    """The densest quarter first; equally dense pixels come in together."""
    found = members(skymap.parents[1], at(ra_deg, dec_deg), **{name: {}})[name]
    assert found == {
        "inside": level <= 0.9,
        "credible_level": pytest.approx(level, abs=1e-9),
        "probability_per_deg2": pytest.approx(probability_per_deg2, rel=1e-6),
    }


def test_the_configured_level_decides(skymap: Path) -> None:
    folder, place = skymap.parents[1], at(67.5, 41.81)
    assert members(folder, place, gw={"credible_level": 0.81})["gw"]["inside"] is True
    assert members(folder, place, gw={"credible_level": 0.79})["gw"]["inside"] is False


def test_a_map_of_a_part_of_the_sky(tmp_path: Path) -> None:
    """Outside of it there is no probability, and no credible region reaches."""
    table = Table({"UNIQ": np.array([8], dtype="i8"), "PROBDENSITY": np.array([12 / (4 * np.pi)])})
    table.write(tmp_path / "a.fits")
    assert members(tmp_path, at(0.0, 0.0), a={"path": "a.fits"})["a"]["credible_level"] == 1.0
    for ra_deg, dec_deg in ((45.0, 45.0), (45.0, -45.0)):
        found = members(tmp_path, at(ra_deg, dec_deg), a={"path": "a.fits"})["a"]
        assert found == {"inside": False, "credible_level": 1.0, "probability_per_deg2": 0.0}


def test_many_objects_at_once(skymap: Path) -> None:
    folder = skymap.parents[1]
    cone(folder / "regions" / "field.fits", 45.0, 20.0, 30.0)
    unit = MocMember(regions={"gw": {}, "field": {}}).prepare(folder)
    curves = [at(45.0, 20.0), light_curve(limit(1.0, "g", 20.0)), at(0.0, 0.0), at(67.5, 41.81)]
    found = batch(unit, curves)
    assert found == [unit.process(curve, {}) for curve in curves]
    assert found[1] == {"gw": {"inside": None}, "field": {"inside": None}}
    assert [result["field"]["inside"] for result in found] == [True, None, False, True]
    assert batch(unit, [curves[1]]) == [found[1]]


def test_each_file_has_its_version(tmp_path: Path) -> None:
    (tmp_path / "regions").mkdir()
    file = tmp_path / "regions" / "a.json"
    file.write_text('{"0": [4]}')
    unit = MocMember(regions={"a": {}}).prepare(tmp_path)
    before = unit.data_versions()
    assert unit.process(at(0.0, 0.0), {})["a"]["inside"] is True
    file.write_text('{"0": [4], "1": []}')
    assert set(before) == {"a"}
    assert unit.data_versions() != before
    file.write_text('{"0": [11]}')
    assert unit.process(at(0.0, 0.0), {})["a"]["inside"] is False


def test_mistakes(tmp_path: Path, skymap: Path) -> None:
    def said(**regions: Any) -> str:
        with pytest.raises(ValueError, match="region b: ") as raised:
            MocMember(regions=regions).prepare(tmp_path)
        return str(raised.value)

    assert said(b={}) == f"region b: there is no {tmp_path}/regions/b.fits; put the file there, or set path"
    (tmp_path / "text").write_text("no region")
    assert said(b={"path": "text"}).startswith(f"region b: {tmp_path}/text is no MOC in FITS, JSON or text (")
    (tmp_path / "c.json").write_text('{"0": [4]}')
    assert said(b={"path": "c.json", "credible_level": 0.5}).endswith("without probabilities; leave out credible_level")
    Table({"PROB": np.full(12, 1 / 12)}).write(tmp_path / "flat.fits")
    assert "make it multi-order" in said(b={"path": "flat.fits"})
    Table({"UNIQ": [4, 16], "PROBDENSITY": [0.1, 0.1]}).write(tmp_path / "twice.fits")
    assert said(b={"path": "twice.fits"}).endswith("its pixels overlap")
    Table({"UNIQ": [3, 4], "PROBDENSITY": [0.1, 0.1]}).write(tmp_path / "none.fits")
    assert said(b={"path": "none.fits"}).endswith("UNIQ names none")
    Table({"UNIQ": [4, 5], "PROBDENSITY": [0.1, np.nan]}).write(tmp_path / "nan.fits")
    assert "not a number" in said(b={"path": "nan.fits"})
    Table({"PROBDENSITY": [0.1]}).write(tmp_path / "half.fits")
    assert "it lacks UNIQ" in said(b={"path": "half.fits"})


def test_uniq_up_to_the_finest_order(tmp_path: Path) -> None:
    """The last pixel of each order: the order is read off UNIQ without an error of rounding."""
    for order in range(30):
        uniq = 4 * 4**order + 12 * 4**order - 1
        Table({"UNIQ": np.array([uniq]), "PROBDENSITY": [1.0]}).write(tmp_path / f"{order}.fits")
        region = read_region(tmp_path / f"{order}.fits")
        assert isinstance(region, ProbabilityMap)
        assert (int(region.end[0]), int(region.begin[0])) == (12 * 4**29, 12 * 4**29 - 4 ** (29 - order))


def test_real_packets(data: Path, tmp_path: Path) -> None:
    """Of 30 real alerts those in the circle that are in it by the haversine formula: 9."""
    path = cone(tmp_path / "field.fits", 300.0, 30.0, 25.0)
    ztf, unit = ZTF(), MocMember(regions={"field": {"path": str(path)}}).prepare(tmp_path)
    truth = Cone(ra_deg=300.0, dec_deg=30.0, radius_deg=25.0)
    found = []
    for packet in read_file(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz"):
        assert isinstance(packet, Packet)
        (alert,) = ztf.decode(packet)
        assert isinstance(alert, Alert)
        ra_deg, dec_deg = alert.candidate["ra"], alert.candidate["dec"]
        found.append((unit.process(at(ra_deg, dec_deg), {})["field"]["inside"], truth.contains(ra_deg, dec_deg)))
    assert all(inside == expected for inside, expected in found)
    assert sum(inside for inside, _ in found) == 9
