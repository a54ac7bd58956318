"""Conditions of processes: what can be known to be wrong is found before the night."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mocpy import MOC

from ampel_dagster.config.load import Config, load
from ampel_dagster.model.errors import ConfigError

STREAM = {"survey": "ztf", "start_date": "2017-11-01"}
TABLE = {"unit": "TransientTable", "config": {"columns": ["name"]}}


def config(folder: Path, process: dict[str, Any], **channel: Any) -> Config:
    """An instance with two products, one process, and a channel that asks for one of the products."""
    (folder / "catalogs").mkdir(parents=True)
    (folder / "catalogs" / "stars.csv").write_text("ra,dec,mag\n1,2,3\n")
    galaxies = {"unit": "CatalogMatch", "config": {"catalogs": {"stars": {"radius_arcsec": 5, "columns": ["mag"]}}}}
    files: dict[str, Any] = {
        "streams/ztf": STREAM,
        "t2/summary": {"unit": "LightCurveSummary"},
        "t2/near": galaxies,
        "t3/p": {"units": [TABLE], **process},
        "channels/A": {"channel": "A", "ztf": {"t2": ["summary"]}, "t3": ["p"], **channel},
        "channels/B": {"channel": "B", "ztf": {}},
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return load(folder)


def problems(folder: Path, process: dict[str, Any], **channel: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(folder, process, **channel)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "where",
    [
        "summary.ndet >= 3",
        "summary.peak_mag_g < 18",
        "summary.color_g_r < 0",
        "summary.peak_band == g",
        "light_curve.n_detections >= 2",
        "age_days < 10",
        "is_new == true",
        "name == ZTF18aaaaaaa",
    ],
)
def test_what_is_right_is_let_through(tmp_path: Path, where: str) -> None:
    assert config(tmp_path, {"select": {"where": [where]}}).processes["p"].select.where == (where,)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("summary.n_det >= 3", "summary has no field n_det — did you mean summary.ndet?"),
        ("sumary.ndet >= 3", "there is no t2/sumary.yaml — did you mean summary?"),
        ("summary.ndet >= many", "summary.ndet is a number, and 'many' a text — compare it with what it can be"),
        ("summary.peak_band > 3", "summary.peak_band is a text, and 3.0 a number — compare it with what it can be"),
        ("light_curve.ndet > 1", "light_curve has no field ndet — did you mean light_curve.n_detections?"),
        ("is_new > 0", "is_new is a flag, and 0.0 a number — compare it with what it can be"),
        ("age > 0", "'age' is not known — product.field, or one of survey, channel, night, name"),
    ],
)
def test_wrong_path_or_type(tmp_path: Path, where: str, said: str) -> None:
    found = problems(tmp_path, {"select": {"where": [where]}})
    assert found[0].startswith(f"t3/p.yaml: select.where: {said}")


def test_fields_of_a_catalogue_are_known(tmp_path: Path) -> None:
    good = ["near.stars.distance_arcsec < 5", "near.stars.mag == bright"]
    bad = ["near.star.distance_arcsec < 5", "near.stars.z < 1"]
    (first, second) = problems(tmp_path, {"select": {"where": good + bad}}, ztf={"t2": ["summary", "near"]})
    assert first.startswith("t3/p.yaml: select.where: near has no field star.distance_arcsec — did you mean near.stars")
    assert second.startswith("t3/p.yaml: select.where: near has no field stars.z")


def test_every_place_with_a_path_is_looked_at(tmp_path: Path) -> None:
    process = {
        "select": {"order": "-summary.peak"},
        "units": [
            {"unit": "TransientTable", "config": {"columns": ["summary.nought"]}, "where": ["summary.x > 1"]},
            {"unit": "LightCurveReport", "show": {"t2": ["none"], "access": ["ZTF_PUBLIC"]}},
        ],
    }
    found = [problem.split(" — ")[0] for problem in problems(tmp_path, process)]
    assert found == [
        "t3/p.yaml: select.order: summary has no field peak",
        "t3/p.yaml: units.0.where: summary has no field x",
        "t3/p.yaml: units.0.config: summary has no field nought",
        "t3/p.yaml: units.1.show.t2: there is no t2/none.yaml",
        "t3/p.yaml: units.1.show.access: no survey has the right 'ZTF_PUBLIC'",
    ]


def test_channel_must_ask_for_what_it_is_selected_by(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, {"select": {"where": ["near.stars.n_matches > 0"]}})
    assert found == "channels/A.yaml: t3: p selects by near, which A does not ask for — add near to t2"


def test_other_channels_must_take_part(tmp_path: Path) -> None:
    """Else a process of one channel would tell it what another one took."""
    found = problems(tmp_path, {"select": {"channels": {"any_of": ["A", "B", "C"]}}})
    assert found == [
        "t3/p.yaml: select.channels: B does not take part in p — name p under t3 in channels/B.yaml",
        "t3/p.yaml: select.channels: there is no channels/C.yaml — add channels/C.yaml",
    ]


def test_stages_are_built(tmp_path: Path) -> None:
    stage = {**TABLE, "where": ["summary.ndet > 1"], "show": {"t2": ["summary"], "points": ["detection"]}}
    (built,) = config(tmp_path, {"units": [stage], "dry_run": True}).processes["p"].stages
    assert [condition.path for condition in built.where] == ["summary.ndet"]
    assert built.show is not None
    assert (built.show.t2, built.show.points, built.show.access) == (("summary",), ("detection",), None)


# --- regions


def test_healpix_region(tmp_path: Path) -> None:
    """At order 0, nested: pixel 4 is around ra 0 on the equator, pixel 0 is ra 0..90 to the north, 8 to the south."""
    built = config(tmp_path, {"select": {"region": [{"healpix": {"order": 0, "pixels": [4, 0]}}]}}).processes["p"]
    (inside,) = built.inside
    positions = [(0.0, 0.0), (359.0, 1.0), (45.0, 45.0), (45.0, -45.0), (180.0, 0.0)]
    assert [inside(*position) for position in positions] == [True, True, True, False, False]


@pytest.mark.parametrize("form", ["fits", "json", "ascii"])
def test_moc_region(tmp_path: Path, form: str) -> None:
    moc = MOC.from_healpix_cells(np.array([0], dtype="uint64"), np.array([0], dtype="uint8"), 0)
    tmp_path.joinpath("fields").mkdir()
    moc.save(str(tmp_path / "fields" / "north.moc"), format=form)
    (inside,) = config(tmp_path, {"select": {"region": [{"moc": "fields/north.moc"}]}}).processes["p"].inside
    assert [inside(45.0, 45.0), inside(45.0, -45.0)] == [True, False]


def test_moc_that_is_not_there_or_none(tmp_path: Path) -> None:
    (tmp_path / "bad.fits").write_bytes(b"no FITS")
    first, second = problems(tmp_path, {"select": {"region": [{"moc": "no.fits"}, {"moc": "bad.fits"}]}})
    assert first == f"t3/p.yaml: select.region: there is no {tmp_path}/no.fits — put the file there, or mend the path"
    assert second.startswith(f"t3/p.yaml: select.region: {tmp_path}/bad.fits is no MOC in FITS, JSON or text (")
