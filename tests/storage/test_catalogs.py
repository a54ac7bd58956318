"""Catalogues in the database, against a look at every row."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, angular_separation

from ampel_dagster.model.catalog import CatalogRows
from ampel_dagster.model.errors import StorageError, TryLaterError
from ampel_dagster.storage.catalogs import CatalogFacts
from ampel_dagster.storage.store import Store

ARCSEC = 1 / 3600


def rows(ra: Any, dec: Any, first: int = 0) -> CatalogRows:
    ra_deg, dec_deg = np.asarray(ra, dtype=float) % 360, np.asarray(dec, dtype=float)
    return CatalogRows(ra_deg, dec_deg, {"id": list(range(first, first + len(ra_deg))), "list": [[1, 2]] * len(ra_deg)})


def write(store: Store, *blocks: CatalogRows, version: str = "v1", count: int | None = None) -> int:
    number = sum(len(block.ra_deg) for block in blocks) if count is None else count
    return store.catalogs.write(CatalogFacts("stars", version, ("id", "list"), number, "stars.csv"), blocks)


def within(store: Store, ra: list[float], dec: list[float], radius_arcsec: float) -> set[int]:
    """Ids of rows within a radius of any of these positions, out of what the database hands over."""
    stars = store.catalogs.open("stars")
    assert stars is not None
    found = stars.near(np.array(ra), np.array(dec), radius_arcsec, ("id",))
    assert list(found.columns) == ["id"]
    assert len(set(found.columns["id"])) == len(found.columns["id"]), "a row came twice"
    here = SkyCoord(ra, dec, unit="deg")
    stars_there = SkyCoord(found.ra_deg, found.dec_deg, unit="deg")
    near = [bool((star.separation(here) <= radius_arcsec * u.arcsec).any()) for star in stars_there]
    return {id_ for id_, good in zip(found.columns["id"], near, strict=True) if good}


@pytest.mark.parametrize(
    ("ra", "dec"), [(150.0, 2.0), (0.0, 0.0), (359.9999, -30.0), (12.0, 90.0), (200.0, -90.0), (45.0, 41.8103)]
)
@pytest.mark.parametrize("radius_arcsec", [2.0, 600.0])
def test_a_ring_just_inside_is_found_whole(store: Store, ra: float, dec: float, radius_arcsec: float) -> None:
    """Also at ra 0, at the poles, and where HEALPix changes from its belt to its caps (dec 41.8103)."""
    angles = np.arange(0, 360, 15) * u.deg
    centre = SkyCoord(ra, dec, unit="deg")
    ring = centre.directional_offset_by(angles, 0.99 * radius_arcsec * u.arcsec)
    # As many rows elsewhere as make cells small.
    rng = np.random.default_rng(1)
    sky = np.degrees(np.arcsin(rng.uniform(-1, 1, 20000)))
    write(store, rows(ring.ra.deg, ring.dec.deg), rows(rng.uniform(0, 360, 20000), sky, first=1000))
    assert within(store, [ra], [dec], radius_arcsec) >= set(range(24))


def test_many_positions_and_a_large_radius_against_all_rows(store: Store) -> None:
    rng = np.random.default_rng(2)
    ra, dec = rng.uniform(0, 360, 5000), np.degrees(np.arcsin(rng.uniform(-1, 1, 5000)))
    write(store, rows(ra[:2000], dec[:2000]), rows(ra[2000:], dec[2000:], first=2000))
    places = [(10.0, 5.0), (355.0, -60.0), (100.0, 89.0)]
    for radius_deg in (3.0, 40.0, 100.0):
        far = [
            np.degrees(angular_separation(np.radians(a), np.radians(d), np.radians(ra), np.radians(dec)))
            for a, d in places
        ]
        truth = set(np.flatnonzero(np.min(far, axis=0) <= radius_deg).tolist())
        assert truth
        assert within(store, [a for a, _ in places], [d for _, d in places], radius_deg * 3600) == truth


def test_few_rows_are_read_for_one_position(store: Store) -> None:
    rng = np.random.default_rng(3)
    write(store, rows(rng.uniform(0, 360, 50000), np.degrees(np.arcsin(rng.uniform(-1, 1, 50000)))))
    stars = store.catalogs.open("stars")
    assert stars is not None
    assert len(stars.near(np.array([150.0]), np.array([2.0]), 2.0, ()).ra_deg) < 250
    assert len(stars.near(np.array([]), np.array([]), 2.0, ()).ra_deg) == 0


def test_values_come_back_as_they_were(store: Store) -> None:
    block = CatalogRows(np.array([10.0, 10.0]), np.array([1.0, 1.0]), {"id": [2**53 + 1, None], "list": [[1, 2], "x"]})
    write(store, block)
    stars = store.catalogs.open("stars")
    assert stars is not None
    found = stars.near(np.array([10.0]), np.array([1.0]), 1.0, ("id", "list"))
    assert found.columns == {"id": [2**53 + 1, None], "list": [[1, 2], "x"]}


def test_a_dense_cell_is_cut_into_documents(store: Store) -> None:
    write(store, rows(np.full(5000, 10.0), np.full(5000, 1.0)))
    assert store.catalogs.rows_of("stars", "v1").count_documents({}) == 3
    assert within(store, [10.0], [1.0], 1.0) == set(range(5000))


def test_the_new_version_is_in_force_at_once_and_readers_keep_theirs(store: Store) -> None:
    write(store, rows([10.0], [1.0]))
    old = store.catalogs.open("stars")
    assert old is not None

    def blocks() -> Iterator[CatalogRows]:
        yield rows([10.0, 10.0], [1.0, 1.0], first=5)
        current = store.catalogs.open("stars")
        assert current is not None
        assert current.version == "v1", "half of a version is in force"

    store.catalogs.write(CatalogFacts("stars", "v2", ("id",), 2, "stars.csv"), blocks())
    assert within(store, [10.0], [1.0], 1.0) == {5, 6}
    here = np.array([10.0]), np.array([1.0]), 1.0, ("id",)
    assert old.near(*here).columns["id"] == [0]
    write(store, rows([10.0], [1.0], first=9), version="v3")
    with pytest.raises(TryLaterError, match="stars was replaced"):
        old.near(*here)
    assert store.catalogs.versions("stars") == ["v3", "v2"]


def test_a_load_that_breaks_changes_nothing_and_leaves_nothing(store: Store) -> None:
    write(store, rows([10.0], [1.0]))

    def breaks() -> Iterator[CatalogRows]:
        yield rows([20.0], [1.0])
        raise ValueError("the file ends")

    with pytest.raises(ValueError, match="the file ends"):
        store.catalogs.write(CatalogFacts("stars", "v2", ("id",), 2, "stars.csv"), breaks())
    assert within(store, [10.0, 20.0], [1.0, 1.0], 1.0) == {0}
    assert write(store, rows([20.0], [1.0], first=3), version="v2") == 1
    assert within(store, [10.0, 20.0], [1.0, 1.0], 1.0) == {3}


def test_drop_removes_all_versions_of_this_catalogue_only(store: Store) -> None:
    write(store, rows([10.0], [1.0]))
    write(store, rows([10.0], [1.0]), version="v2")
    store.catalogs.write(CatalogFacts("stars2", "v1", ("id",), 1, "x.csv"), [rows([10.0], [1.0])])
    assert store.catalogs.drop("stars") is True
    assert store.catalogs.drop("stars") is False
    assert store.catalogs.open("stars") is None
    left = [name for name in store.database.list_collection_names() if name.startswith("catalog.")]
    assert left == ["catalog.stars2.v1"]


def test_catalogues_go_to_another_process_as_an_address(store: Store, mongo_uri: str) -> None:
    write(store, rows([10.0], [1.0]))
    there = pickle.loads(pickle.dumps(store.catalogs.open("stars")))
    assert there.near(np.array([10.0]), np.array([1.0]), 1.0, ("id",)).columns == {"id": [0]}
    with_client_only = Store(store._client, store.database.name)
    with pytest.raises(StorageError, match="by its address"):
        pickle.dumps(with_client_only.catalogs)
