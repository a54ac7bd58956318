"""From a catalogue's file to matches of real objects."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import utc_now
from ampel_dagster.pipeline.catalog_load import load_catalog
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import select
from ampel_dagster.pipeline.t2_try import try_product
from ampel_dagster.pipeline.write_ahead import write_overlapping
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import Limits, Product
from ampel_dagster.units.t2._catalog import Layout
from ampel_dagster.units.t2._catalog_blocks import CatalogFile
from ampel_dagster.units.t2.catalog_match import CatalogMatch

ANY = Layout(None, None, "deg", ())
STARS = pd.DataFrame(
    {
        "ra": [150.0, 330.0, 150.0, 150.0, np.nan],
        "dec": [2 + 10 / 3600, -2.0, 2 + 1 / 3600, 2 + 3 / 3600, 2.0],
        "name": ["ten", "far", "one", None, "nowhere"],
        "id": pd.array([2**53 + 1, 5, 2**53 + 3, None, 6], dtype="Int64"),
    }
)


def save(frame: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        Table.from_pandas(frame.fillna({"name": "", "id": -1})).write(path)
    return path


def load(store: Store, path: Path, name: str = "stars", layout: Layout = ANY, **more: Any) -> int | None:
    return load_catalog(store.catalogs, path, name, layout, every_column=not layout.columns, **more)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "fits"])
def test_every_kind_of_file(store: Store, tmp_path: Path, suffix: str) -> None:
    told: list[tuple[int, int]] = []
    path = save(STARS, tmp_path / f"stars.{suffix}")
    assert load(store, path, progress=lambda done, of: told.append((done, of))) == 4
    assert told == [(4, 5)]  # one has no position
    stars = store.catalogs.open("stars")
    assert stars is not None
    assert stars.columns == ("name", "id")
    found = stars.near(np.array([150.0]), np.array([2.0]), 5.0, ("name", "id"))
    ids = dict(zip(found.columns["name"], found.columns["id"], strict=True))
    assert ids["one"] == 2**53 + 3
    assert ids["ten"] == 2**53 + 1


def test_blocks_of_a_csv_file_agree_on_types(tmp_path: Path) -> None:
    """A column that looks like numbers in one block, and like text in the next, is one of text."""
    path = tmp_path / "a.csv"
    path.write_text("ra,dec,code,z\n1,1,007,1\n2,2,x,\n3,3,8,0.5\n")
    file = CatalogFile.open(path, Layout(None, None, "deg", ("code", "z")))
    blocks = list(file.blocks(rows=1))
    assert [block.columns["code"] for block in blocks] == [["007"], ["x"], ["8"]]
    assert [block.columns["z"] for block in blocks] == [[1.0], [None], [0.5]]
    assert file.rows == 3


def test_the_same_file_is_loaded_once_and_another_content_is_another_version(store: Store, tmp_path: Path) -> None:
    path = save(STARS, tmp_path / "stars.parquet")
    assert load(store, path) == 4
    first = store.catalogs.versions("stars")
    assert load(store, path) is None
    assert store.catalogs.versions("stars") == first
    assert load(store, path, layout=Layout("ra", "dec", "deg", ("id",))) == 4
    assert load(store, save(STARS[:2], tmp_path / "two.parquet")) == 2
    assert len({*first, *store.catalogs.versions("stars")}) == 3


def test_radians(store: Store, tmp_path: Path) -> None:
    frame = STARS.assign(ra=np.radians(STARS["ra"]), dec=np.radians(STARS["dec"]))
    load(store, save(frame, tmp_path / "r.parquet"), layout=Layout("ra", "dec", "rad", ("name",)))
    stars = store.catalogs.open("stars")
    assert stars is not None
    assert sorted(stars.near(np.array([330.0]), np.array([-2.0]), 1.0, ()).ra_deg) == pytest.approx([330.0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        ("a,b\n1,2\n", "no columns are called as positions usually are"),
        ("ra,dec\n1,91\n", "goes beyond 90 degrees"),
        ("ra,dec\n1,north\n", "does not hold numbers"),
    ],
)
def test_a_file_that_cannot_be_used_leaves_what_is_in_force(
    store: Store, tmp_path: Path, content: str | None, message: str
) -> None:
    load(store, save(STARS, tmp_path / "stars.csv"))
    before = store.catalogs.versions("stars")
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        load(store, path)
    assert store.catalogs.versions("stars") == before


def vsx_and_gcvs(folder: Path, **more: Any) -> dict[str, dict[str, Any]]:
    spec = {"radius_arcsec": 2.0, "match": "all"}
    return {
        "vsx": {**spec, "columns": ["VType"], **({"path": str(folder / "vsx_dev_subset.parquet")} | more)},
        "gcvs": {**spec, "columns": ["VarType"], **({"path": str(folder / "gcvs.parquet")} | more)},
    }


def stored(folder: Path) -> CatalogMatch:
    specs = vsx_and_gcvs(folder, stored=True)
    return CatalogMatch(catalogs={name: {k: v for k, v in s.items() if k != "path"} for name, s in specs.items()})


@pytest.mark.parametrize("isolate", [False, True])
def test_real_alerts_and_variable_stars(world: Any, real: Any, data: Path, isolate: bool) -> None:
    """Of the 30 alerts 21 lie within 2 arcsec of a star of VSX, 3 within 2 arcsec of one of GCVS.

    So it is through the engine, in batches and in processes of their own, and files give the same.
    """
    folder = data / "catalogs"
    load(world.store, folder / "vsx_dev_subset.parquet", "vsx")
    load(world.store, folder / "gcvs.parquet", "gcvs")
    in_database = Product("stars", stored(folder), (), Limits(isolate=isolate))
    in_files = Product("stars_of_files", CatalogMatch(catalogs=vsx_and_gcvs(folder)).prepare(folder))
    ingestion = world.ingestion(world.rules("ALL", in_database, in_files))
    packets = real("ztf_public_20180819_mod1000.tar.gz")
    write_overlapping(select(ingestion, packets), SelectionWriter(ingestion).write)
    assert world.compute(in_database, in_files).counts["computed"] == 60
    found = world.t2(in_database)
    assert sum(document["result"]["vsx"]["n_matches"] > 0 for document in found) == 21
    assert sum(document["result"]["gcvs"]["n_matches"] > 0 for document in found) == 3
    assert [document["result"] for document in world.t2(in_files)] == [document["result"] for document in found]
    versions = {name: world.store.catalogs.versions(name)[0] for name in ("vsx", "gcvs")}
    assert found[0]["meta"]["data"] == versions


def test_objects_wait_for_a_catalogue_that_is_not_loaded(world: Any, tmp_path: Path) -> None:
    unit = CatalogMatch(catalogs={"stars": {"radius_arcsec": 5, "stored": True}})
    product = Product("stars", unit, (), Limits(retry_after_s=600))
    world.ingest(world.rules("A", product), world.star(0, ra=150.0, dec=2.0))
    assert world.compute(product).counts["postponed"] == 1
    assert "catalog load FILE --name stars" in world.t2(product)[0]["error"]["message"]
    load(world.store, save(STARS, tmp_path / "stars.csv"))
    world.store.database["ztf.ticket"].update_many({}, {"$set": {"due": utc_now() - timedelta(seconds=1)}})
    assert world.compute(product).counts["computed"] == 1
    assert world.t2(product)[0]["result"]["stars"]["n_matches"] == 2


def test_a_unit_that_is_tried_finds_the_stored_catalogues(world: Any, tmp_path: Path) -> None:
    load(world.store, save(STARS, tmp_path / "stars.csv"))
    world.ingest(world.rules("A"), world.star(0, ra=150.0, dec=2.0))
    product = Product("stars", CatalogMatch(catalogs={"stars": {"radius_arcsec": 5, "stored": True}}))
    (trial,) = try_product(world.ztf, world.instrument, product, world.instrument.stock_id("ZTF18aaaaaaa"))
    assert trial.body is not None
    assert trial.body["stars"]["n_matches"] == 2


def test_a_column_that_was_not_loaded_is_said(world: Any, tmp_path: Path) -> None:
    load(world.store, save(STARS, tmp_path / "stars.csv"), layout=Layout("ra", "dec", "deg", ("id",)))
    unit = CatalogMatch(catalogs={"stars": {"radius_arcsec": 5, "stored": True, "columns": ["name"]}})
    product = Product("stars", unit)
    world.ingest(world.rules("A", product), world.star(0), world.star(1))
    world.compute(product)
    assert {d["error"]["message"] for d in world.t2(product)} == {
        "ValueError: catalogue stars was loaded without column 'name'; there are: id"
    }


def test_openngc(store: Store, tmp_path: Path) -> None:
    """OpenNGC, whose positions are in radians: NGC 224 is M31, at 00h42m44.35s +41d16'08.6\"."""
    data = pytest.importorskip("pyongc.data")
    frame = data.all()[["name", "ra", "dec", "messier"]]
    load(store, save(frame, tmp_path / "ngc.csv"), "ngc", Layout("ra", "dec", "rad", ("name", "messier")))
    unit = CatalogMatch(catalogs={"ngc": {"radius_arcsec": 30, "stored": True, "columns": ["name"]}})
    found = unit.bind(store.catalogs)._matches([(10.6848, 41.2690)])[0]["ngc"]
    assert found["name"] == "NGC0224"
    assert found["distance_arcsec"] < 2
