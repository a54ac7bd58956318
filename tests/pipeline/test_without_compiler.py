"""Where there was no C compiler, the same is stored: byte by byte."""

from collections.abc import Iterator

import pytest
from bson.raw_bson import RawBSONDocument

from ampel_dagster.instruments import avro_container
from ampel_dagster.testing import make_alert, make_detection, make_limit


@pytest.fixture
def alerts() -> list[dict[str, object]]:
    past = [make_detection(jd=2458340.7 + n, band="gr"[n % 2], mag=18 + n / 4) for n in range(5)]
    limits = [make_limit(jd=2458330.7 + n, maglim=20.25) for n in range(4)]
    # The first packets of ZTF did not name the read-out channel.
    limits[0]["rcid"] = None
    return [
        make_alert(name=f"ZTF18aaaaaa{letter}", tblid=n, history=[*past, *limits]) for n, letter in enumerate("abc")
    ]


def bodies(world) -> Iterator[tuple[bytes, bytes]]:
    """Ids and bodies of all datapoints, as they are stored."""
    options = world.ztf.points.collection.codec_options.with_options(document_class=RawBSONDocument)
    for document in world.ztf.points.collection.with_options(codec_options=options).find(sort=[("_id", 1)]):
        yield document["_id"], document["body"].raw


def test_the_same_is_stored(world, alerts, monkeypatch):
    if not avro_container.compiled():
        pytest.skip("there was no C compiler when the project was installed")
    found = []
    for channel, reader in (("compiled", avro_container.avro_rows), ("by_fastavro", None)):
        monkeypatch.setattr(avro_container, "avro_rows", reader)
        world.instrument = type(world.instrument)()
        world.store.drop()
        tally = world.ingest(world.rules(channel), *alerts)
        assert tally.counts["new"] == 3
        found.append((list(bodies(world)), sorted(d["_id"] for d in world.ztf.states.collection.find())))
    compiled, by_fastavro = found
    assert [len(documents) for documents in compiled] == [3 + 5 + 4, 3]
    assert compiled == by_fastavro
