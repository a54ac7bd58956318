import os
import tarfile
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.t2.catalog_match import CatalogMatch

SHARED = Path(__file__).resolve().parents[4] / "shared/data"
NAN = float("nan")
#: Stars 1, 3 and 10 arcsec north of (150, 2), one on the other side of the sky, one without a position.
STARS = pd.DataFrame(
    {
        "ra": [150.0, 330.0, 150.0, 150.0, NAN],
        "dec": [2 + 10 / 3600, -2.0, 2 + 1 / 3600, 2 + 3 / 3600, 2.0],
        "name": ["ten", "far", "one", None, "nowhere"],
        "id": pd.array([2**53 + 1, 5, 2**53 + 3, None, 6], dtype="Int64"),
        "lum_dist": np.array([1.5, 2.5, NAN, 3.5, 4.5], dtype=np.float32),
    }
)


def light_curve(*rows: tuple[str, float, float]) -> LightCurve:
    """Points by (kind, ra, dec)."""
    nothing = np.full(len(rows), NAN)
    return LightCurve(
        survey="ztf",
        stock=49361473,
        name="ZTF18aagtntk",
        id=np.arange(len(rows), dtype=np.int64),
        jd=np.arange(len(rows), dtype=np.float64) + 2460000.0,
        kind=np.array([row[0] for row in rows], dtype="U11"),
        band=np.array(["g"] * len(rows), dtype="U8"),
        mag=nothing,
        mag_err=nothing,
        mag_limit=nothing,
        flux_njy=nothing,
        flux_err_njy=nothing,
        positive=np.ones(len(rows), dtype=np.bool_),
        ra_deg=np.array([row[1] for row in rows], dtype=np.float64),
        dec_deg=np.array([row[2] for row in rows], dtype=np.float64),
    )


HERE = light_curve(("detection", 150.0, 2.0))


def save(frame: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        columns = [
            fits.Column("ra", "D", array=frame["ra"].to_numpy()),
            fits.Column("dec", "D", array=frame["dec"].to_numpy()),
            fits.Column("name", "7A", array=frame["name"].fillna("").to_numpy(dtype="U7")),
            fits.Column("id", "K", null=-1, array=frame["id"].fillna(-1).to_numpy(dtype=np.int64)),
            fits.Column("lum_dist", "E", array=frame["lum_dist"].to_numpy()),
        ]
        fits.BinTableHDU.from_columns(columns).writeto(path)
    return path


def match(folder: Path, light_curve: LightCurve = HERE, **spec: Any) -> dict[str, Any]:
    unit = CatalogMatch(catalogs={"stars": {"radius_arcsec": 5.0} | spec})
    found = unit.prepare(folder).process(light_curve, {})
    assert set(found) == {"stars"}
    return dict(found["stars"])


@pytest.mark.parametrize("suffix", ["parquet", "csv", "fits", "fits.gz"])
def test_the_nearest_match_from_each_kind_of_file(tmp_path: Path, suffix: str) -> None:
    save(STARS, tmp_path / f"catalogs/stars.{suffix}")
    found = match(tmp_path, columns=["name", "id", "lum_dist"])
    assert found == {
        "n_matches": 2,
        "distance_arcsec": pytest.approx(1.0, abs=1e-6),
        "ra_deg": 150.0,
        "dec_deg": pytest.approx(2 + 1 / 3600, abs=1e-12),
        "name": "one",
        # Beyond what a float can hold.
        "id": 2**53 + 3,
        "lum_dist": None,
    }
    assert type(found["id"]) is int


@pytest.mark.parametrize("suffix", ["parquet", "csv", "fits"])
def test_all_matches_come_nearest_first(tmp_path: Path, suffix: str) -> None:
    save(STARS, tmp_path / f"catalogs/stars.{suffix}")
    found = match(tmp_path, radius_arcsec=60, match="all", columns=["id", "lum_dist"])
    assert found["n_matches"] == 3
    assert [row["distance_arcsec"] for row in found["matches"]] == pytest.approx([1, 3, 10], abs=1e-6)
    assert [row["id"] for row in found["matches"]] == [2**53 + 3, None, 2**53 + 1]
    assert [row["lum_dist"] for row in found["matches"]] == [None, 3.5, 1.5]
    assert found["distance_arcsec"] == found["matches"][0]["distance_arcsec"]


def test_the_list_of_matches_can_be_bounded(tmp_path: Path) -> None:
    save(STARS, tmp_path / "catalogs/stars.parquet")
    found = match(tmp_path, radius_arcsec=60, match="all", max_matches=2)
    assert found["n_matches"] == 3
    assert [row["distance_arcsec"] for row in found["matches"]] == pytest.approx([1, 3], abs=1e-6)


def test_no_match(tmp_path: Path) -> None:
    save(STARS, tmp_path / "catalogs/stars.parquet")
    assert match(tmp_path, radius_arcsec=0.9, columns=["name"]) == {"n_matches": 0}
    assert match(tmp_path, radius_arcsec=0.9, match="all") == {"n_matches": 0, "matches": []}


def test_the_position_is_the_mean_of_the_detections(tmp_path: Path) -> None:
    save(STARS, tmp_path / "catalogs/stars.parquet")
    around = [("detection", 150.0, 2 - 2 / 3600), ("detection", 150.0, 2 + 4 / 3600), ("forced", 150.0, 2.5)]
    assert match(tmp_path, light_curve(*around))["distance_arcsec"] == pytest.approx(0, abs=1e-6)
    # No detection with a position: what else has one.
    other = light_curve(("detection", NAN, NAN), ("upper_limit", NAN, NAN), ("forced", 150.0, 2.0))
    assert match(tmp_path, other)["distance_arcsec"] == pytest.approx(1, abs=1e-6)


def test_without_a_position_nothing_is_claimed(tmp_path: Path) -> None:
    save(STARS, tmp_path / "catalogs/stars.parquet")
    for points in ((), (("upper_limit", NAN, NAN),)):
        assert match(tmp_path, light_curve(*points)) == {"n_matches": None}


def test_several_catalogues_at_once(tmp_path: Path) -> None:
    save(STARS, tmp_path / "catalogs/near.parquet")
    save(STARS, tmp_path / "elsewhere.csv")
    unit = CatalogMatch(catalogs={"near": {"radius_arcsec": 2}, "far": {"radius_arcsec": 4, "path": "elsewhere.csv"}})
    found = unit.prepare(tmp_path).process(HERE, {})
    assert [found[name]["n_matches"] for name in ("near", "far")] == [1, 2]


@pytest.mark.parametrize(
    "names",
    [
        *(("ra", "dec"), ("RA", "DEC"), ("RAJ2000", "DEJ2000"), ("_RAJ2000", "_DEJ2000"), ("RAdeg", "DEdeg")),
        *(("RA_ICRS", "DE_ICRS"), ("ra_deg", "dec_deg"), ("Ra", "Dec")),
    ],
)
def test_usual_names_of_positions_are_found(tmp_path: Path, names: tuple[str, str]) -> None:
    # Errors of the position and a rounded one stand beside it, as in many catalogues.
    frame = STARS.rename(columns=dict(zip(("ra", "dec"), names, strict=True)))
    frame.insert(0, "e_ra", 0.1)
    save(frame, tmp_path / "catalogs/stars.csv")
    assert match(tmp_path)["n_matches"] == 2


def test_other_names_and_radians_are_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({"lon": np.radians(STARS["ra"]), "lat": np.radians(STARS["dec"])})
    save(frame, tmp_path / "catalogs/stars.parquet")
    found = match(tmp_path, ra="lon", dec="lat", ra_dec_unit="rad")
    assert found["distance_arcsec"] == pytest.approx(1.0, abs=1e-6)
    assert found["ra_deg"] == pytest.approx(150.0, abs=1e-12)


@given(
    st.floats(0, 360, exclude_max=True),
    st.floats(-90, 90) | st.sampled_from([-90.0, -89.9999, 89.9999, 90.0]),
    st.floats(0.1, 3600 * 20),
    st.integers(0, 2**32),
)
def test_matches_are_those_of_astropy(
    tmp_path_factory: pytest.TempPathFactory, ra: float, dec: float, radius: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    here = SkyCoord(ra, dec, unit="deg")
    # Half within the radius, half around it, in all directions: also across ra 0 and the poles.
    places = here.directional_offset_by(
        random.uniform(0, 360, 40) * units.deg, random.uniform(0, 2 * radius, 40) * units.arcsec
    )
    frame = pd.DataFrame({"ra": places.ra.deg, "dec": places.dec.deg, "row": np.arange(40)})
    folder = tmp_path_factory.mktemp("sky")
    save(frame, folder / "catalogs/stars.parquet")
    found = match(folder, light_curve(("detection", ra, dec)), radius_arcsec=radius, match="all", columns=["row"])
    distances = here.separation(SkyCoord(frame["ra"], frame["dec"], unit="deg")).arcsec
    # What lies on the rim to within rounding may be on either side.
    rim = np.abs(distances - radius) < 1e-6
    inside = {int(row) for row in np.flatnonzero((distances < radius) & ~rim)}
    rows = [row["row"] for row in found["matches"]]
    assert inside <= set(rows) <= inside | {int(row) for row in np.flatnonzero(rim)}
    assert [row["distance_arcsec"] for row in found["matches"]] == pytest.approx(distances[rows], abs=1e-6)
    assert [row["distance_arcsec"] for row in found["matches"]] == sorted(
        row["distance_arcsec"] for row in found["matches"]
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"path": "no/such.parquet"},
            r"catalogue stars: there is no .*no/such.parquet; put the file there, or set path",
        ),
        ({"ra": "lon", "dec": "dec"}, r"catalogue stars: .*stars.csv: there is no column 'lon'; .*ra, dec, name, id"),
        ({"columns": ["z"]}, r"there is no column 'z'"),
        ({"ra": "name", "dec": "dec"}, r"column 'name' does not hold numbers"),
        ({"ra": "dec", "dec": "ra"}, r"column 'ra' goes beyond 90 degrees"),
        ({"path": "stars.txt"}, r"stars.txt: a catalogue's name ends with .parquet, .csv, .fits, .fits.gz"),
        ({"path": "nonsense.csv"}, r"no columns are called as positions usually are; set ra and dec .*: a, b"),
        ({"path": "broken.parquet"}, r"catalogue stars: .*broken.parquet: "),
        ({"path": "broken.fits"}, r"catalogue stars: .*broken.fits: "),
        ({"path": "image.fits"}, r"image.fits: it holds no table"),
    ],
)
def test_preparing_tells_what_is_missing(tmp_path: Path, spec: dict[str, Any], message: str) -> None:
    save(STARS, tmp_path / "catalogs/stars.csv")
    (tmp_path / "stars.txt").write_text("ra,dec\n1,2\n")
    (tmp_path / "nonsense.csv").write_text("a,b\n1,2\n")
    for name in ("broken.parquet", "broken.fits"):
        (tmp_path / name).write_bytes(b"this is not a table\n" * 200)
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "image.fits")
    unit = CatalogMatch(catalogs={"stars": {"radius_arcsec": 5.0} | spec})
    with pytest.raises(ValueError, match=message) as caught:
        unit.prepare(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_under_the_usual_name_is_told_with_the_names_it_may_have(tmp_path: Path) -> None:
    unit = CatalogMatch(catalogs={"stars": {"radius_arcsec": 5.0}})
    with pytest.raises(
        ValueError, match=r"catalogs/stars\.parquet \(or \.csv, \.fits, \.fits\.gz\); put the file there"
    ):
        unit.prepare(tmp_path)


def test_an_empty_catalogue_matches_nothing(tmp_path: Path) -> None:
    for suffix in ("parquet", "csv", "fits"):
        save(STARS.iloc[:0], tmp_path / f"catalogs/stars.{suffix}")
        assert match(tmp_path, columns=["name"]) == {"n_matches": 0}
        (tmp_path / f"catalogs/stars.{suffix}").unlink()


@pytest.mark.parametrize(
    ("catalogs", "message"),
    [
        ({}, "at least 1 item"),
        ({"stars": {"radius_arcsec": 0}}, "greater than 0"),
        ({"stars": {}}, "Field required"),
        ({"../stars": {"radius_arcsec": 1}}, "should match pattern"),
        ({"a.b": {"radius_arcsec": 1}}, "should match pattern"),
        ({"stars": {"radius_arcsec": 1, "ra": "x"}}, "give both or neither"),
        ({"stars": {"radius_arcsec": 1, "columns": ["n_matches"]}}, "n_matches is what the result has of its own"),
    ],
)
def test_a_mistake_is_told_at_once(catalogs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CatalogMatch(catalogs=catalogs)


def test_the_folder_is_not_part_of_the_identity(tmp_path: Path) -> None:
    save(STARS, tmp_path / "catalogs/stars.parquet")
    unit = CatalogMatch(catalogs={"stars": {"radius_arcsec": 5.0}})
    prepared = unit.prepare(tmp_path)
    assert prepared.identity() == unit.identity()
    assert prepared.process(HERE, {})["stars"]["n_matches"] == 2
    # The unit that was asked still knows nothing of the folder.
    with pytest.raises(FileNotFoundError):
        unit.process(HERE, {})


def test_a_changed_file_is_read_again_and_has_another_version(tmp_path: Path) -> None:
    path = save(STARS, tmp_path / "catalogs/stars.csv")
    unit = CatalogMatch(catalogs={"stars": {"radius_arcsec": 5.0}}).prepare(tmp_path)
    version = unit.data_versions()["stars"]
    assert len(bytes.fromhex(version)) == 8
    assert unit.process(HERE, {})["stars"]["n_matches"] == 2
    save(STARS.iloc[:3], path)
    assert unit.process(HERE, {})["stars"]["n_matches"] == 1
    assert unit.data_versions()["stars"] != version
    # The version is of the content, not of the time.
    save(STARS, path)
    os.utime(path, (1, 1))
    assert unit.data_versions()["stars"] == version


@pytest.fixture(scope="module")
def positions() -> list[tuple[float, float]]:
    """Of 30 real alerts."""
    archive = SHARED / "ztf/ztf_public_20180819_mod1000.tar.gz"
    if not archive.exists():
        pytest.skip(f"the real packets are not here: {archive}")
    with tarfile.open(archive) as tar:
        files = [tar.extractfile(member) for member in tar]
        records: list[Any] = [record for file in files if file for record in fastavro.reader(file)]
    return [(record["candidate"]["ra"], record["candidate"]["dec"]) for record in records]


@pytest.mark.parametrize(("file", "column", "expected"), [("vsx_dev_subset", "VType", 21), ("gcvs", "VarType", 3)])
def test_variable_stars_among_real_alerts(
    positions: list[tuple[float, float]], file: str, column: str, expected: int
) -> None:
    # The numbers come from the description of the data; they were counted with other tools.
    spec = {"radius_arcsec": 2.0, "path": f"catalogs/{file}.parquet", "columns": [column]}
    unit = CatalogMatch(catalogs={"stars": spec}).prepare(SHARED)
    found = [unit.process(light_curve(("detection", ra, dec)), {})["stars"] for ra, dec in positions]
    assert len(found) == 30
    matched = [row for row in found if row["n_matches"]]
    assert len(matched) == expected
    assert all(isinstance(row[column], str) and row["distance_arcsec"] <= 2 for row in matched)


def test_a_real_fits_table(positions: list[tuple[float, float]]) -> None:
    # Its first row, as astropy reads it.
    path = SHARED / "catalogs/igaps-dr1-215a-small.fits.gz"
    row = fits.getdata(path, 1)[0]
    spec = {"radius_arcsec": 1.0, "path": str(path), "columns": ["name", "i", "iClass", "iSaturated"]}
    unit = CatalogMatch(catalogs={"igaps": spec}).prepare(SHARED)
    found = unit.process(light_curve(("detection", float(row["RA"]), float(row["DEC"]))), {})["igaps"]
    assert found["distance_arcsec"] == pytest.approx(0, abs=1e-6)
    assert found["name"] == row["name"]
    assert found["iSaturated"] is bool(row["iSaturated"])
