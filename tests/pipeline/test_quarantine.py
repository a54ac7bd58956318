"""Packets that cannot be read: whatever is wrong with them, they are kept, counted, and can be read again later."""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest

from ampel_dagster.instruments.ztf_schema import ALERT
from ampel_dagster.model.alert import MAX_ALERT_BYTES, Packet
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.replay import replay
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.sources.files import read_file
from ampel_dagster.storage.audit import ledger
from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.testing import encode_packet, make_alert

JD = 2458349.7
NAME = b"ZTF18aaaaaaa"
Alter = Callable[[bytes], bytes]


def packed(schema: Mapping[str, Any], record: Mapping[str, Any], codec: str = "null") -> bytes:
    buffer = BytesIO()
    fastavro.writer(buffer, fastavro.parse_schema(json.loads(json.dumps(schema))), [record], codec=codec)
    return buffer.getvalue()


def other_schema(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], **values: Any) -> bytes:
    """A sound container whose candidate has other fields."""
    schema = json.loads(json.dumps(ALERT))
    (candidate,) = (field for field in schema["fields"] if field["name"] == "candidate")
    candidate["type"]["fields"] = change(candidate["type"]["fields"])
    record = make_alert(cutouts=False)
    record = {**record, "candidate": {**record["candidate"], **values}}
    return packed(schema, record)


def without_jd(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [field for field in fields if field["name"] != "jd"]


def jd_as_text(fields: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**field, "type": "string"} if field["name"] == "jd" else field for field in fields]


def bomb() -> bytes:
    """A small packet whose one block unpacks to more than any alert has."""
    sound = packed(ALERT, make_alert(cutouts=False), "deflate")
    header = sound[: sound.index(b"deflate")]
    sync = sound[-16:]
    pressed = zlib.compressobj(9, wbits=-15)
    payload = pressed.compress(bytes(MAX_ALERT_BYTES + 1)) + pressed.flush()
    start = sound.index(sync, len(header)) + 16
    size = BytesIO()
    fastavro.schemaless_writer(size, fastavro.parse_schema("long"), len(payload))
    return sound[:start] + b"\x02" + size.getvalue() + payload + sync


def large() -> bytes:
    """50 MB: one stamp that is none."""
    alert = make_alert()
    stamp = {**alert["cutoutScience"], "stampData": bytes(50_000_000)}
    return encode_packet({**alert, "cutoutScience": stamp})


def sound() -> bytes:
    return encode_packet(make_alert(cutouts=False))


CAUSES: dict[str, tuple[Callable[[], bytes], str]] = {
    "cut off": (lambda: sound()[:-300], "UNREADABLE"),
    "cut off in its sync marker": (lambda: sound()[:-3], "TRUNCATED"),
    "sync marker damaged": (lambda: sound()[:-16] + bytes(16), "TRUNCATED"),
    "no schema": (lambda: sound().replace(b'"record"', b'"rekord"'), "INVALID_SCHEMA"),
    "mandatory field missing": (lambda: other_schema(without_jd), "INVALID_FIELD"),
    "time is NaN": (lambda: encode_packet(make_alert(jd=JD, cutouts=False) | nan_time()), "INVALID_FIELD"),
    "position is NaN": (lambda: other_schema(list, ra=float("nan")), "INVALID_FIELD"),
    "time is a text": (lambda: other_schema(jd_as_text, jd="yesterday"), "INVALID_FIELD"),
    "name in no alphabet": (lambda: sound().replace(NAME, b"ZTF18\xff\xfe\xfdaaaa"), "UNREADABLE"),
    "name of no star": (lambda: sound().replace(NAME, b"ZTF18AAAAAAA"), "INVALID_FIELD"),
    "far future": (lambda: encode_packet(make_alert(jd=2817152.5, candid=5, cutouts=False)), "NIGHT_OUT_OF_RANGE"),
    "unpacks without end": (bomb, "TOO_LARGE"),
    "50 MB": (large, "TOO_LARGE"),
    "nothing": (lambda: b"", "NOT_AVRO"),
}


def nan_time() -> dict[str, Any]:
    alert = make_alert(jd=JD, cutouts=False)
    return {"candidate": {**alert["candidate"], "jd": float("nan")}}


def counts(tally: Any) -> tuple[int, ...]:
    return tuple(tally.counts[key] for key in LEDGER_KEYS)


def again(lab: Any, rules: Any, *ids: int, run: str = "replay", **stream: Any) -> Any:
    """Replay records."""
    changed = type(lab.stream).model_validate(lab.stream.model_dump() | stream)
    ingestion = Ingestion(lab.store, lab.instrument, changed, [rules], RunInfo(run, 1))
    return replay(ingestion, ids).consume()


@pytest.mark.parametrize("cause", CAUSES)
def test_a_bad_packet_is_kept_and_costs_the_others_nothing(lab: Any, cause: str) -> None:
    make, reason = CAUSES[cause]
    data = make()
    good = encode_packet(make_alert(name="ZTF18aaaaaab", tblid=2, cutouts=False))
    packets = [Packet(data, "bad.avro", 0, "bad.avro"), Packet(good, "good.avro", 0, "good.avro")]
    tally = lab.run(lab.rules("ALL"), packets)
    # Of a container whose end is damaged the alert can be read all the same.
    readable = int(reason == "TRUNCATED")
    assert counts(tally) == (2 + readable, 1 + readable, 0, 0, 1)
    (record,) = lab.store.quarantine.find()
    assert (record["reason"], record["source"], record["size_bytes"]) == (reason, "bad.avro", len(data))
    assert lab.store.quarantine.raw(record["_id"]) == data[:MAX_ALERT_BYTES]
    assert record["replayable"] is (len(data) <= MAX_ALERT_BYTES)
    assert record["error"]
    # Nothing has become better: a replay changes nothing, and nobody counts it.
    before = lab.raw()
    again(lab, lab.rules("ALL"), record["_id"])
    assert lab.raw() == before


def test_what_can_be_read_by_now_leaves(lab: Any) -> None:
    rules = lab.rules("ALL")
    old = encode_packet(make_alert(jd=2457700.5, cutouts=False))
    lab.run(rules, [Packet(old, "night.tar", 7, "old.avro"), Packet(b"Obj", "night.tar", 8, "no.avro")])
    ids = [d["_id"] for d in lab.store.quarantine.find()]
    tally = again(lab, rules, *ids, start_date="2016-01-01")
    assert counts(tally) == (2, 1, 0, 0, 1)
    (left,) = lab.store.quarantine.find()
    assert left["reason"] == "NOT_AVRO"
    (alert,) = lab.content()["ztf.alert"].values()
    assert alert["source"] == {"file": "night.tar", "offset": 7, "member": "old.avro"}
    (entry,) = lab.store.journal.collection.find({"action": "replay"})
    assert "night.tar packet 7" in entry["note"]
    # Both were read twice: one came out of quarantine, the other did not.
    report = ledger(lab.store, "ztf", [])
    assert report.balanced
    assert report.total == {"read": 4, "new": 1, "known": 0, "rejected": 0, "quarantined": 3}
    assert report.quarantine == {"NOT_AVRO": 1}


def test_a_replay_that_was_interrupted_is_done_again(lab: Any) -> None:
    """All was stored, and the record had not left yet."""
    rules = lab.rules("ALL")
    lab.run(rules, [Packet(encode_packet(make_alert(jd=2457700.5, cutouts=False)), "old.avro", 0)])
    record = lab.store.database["quarantine"].find_one()
    again(lab, rules, record["_id"], start_date="2016-01-01")
    content = lab.content()
    lab.store.database["quarantine"].insert_one(record)
    tally = again(lab, rules, record["_id"], run="once more", start_date="2016-01-01")
    assert counts(tally) == (1, 0, 1, 0, 0)
    assert lab.content() == content


def test_without_a_channel_nothing_leaves(lab: Any) -> None:
    lab.run(lab.rules("ALL"), [Packet(encode_packet(make_alert(jd=2457700.5, cutouts=False)), "old.avro", 0)])
    (record,) = lab.store.quarantine.find()
    stream = type(lab.stream).model_validate(lab.stream.model_dump() | {"start_date": "2016-01-01"})
    with pytest.raises(UserError, match="no channel of ztf is live"):
        replay(Ingestion(lab.store, lab.instrument, stream, [], RunInfo("replay", 1)), [record["_id"]])
    assert lab.store.quarantine.count() == 1


def test_a_record_that_is_still_bad_gets_the_error_of_today(lab: Any) -> None:
    rules = lab.rules("ALL")
    lab.run(rules, [Packet(encode_packet(make_alert(jd=2457700.5, cutouts=False)), "old.avro", 0)])
    (record,) = lab.store.quarantine.find()
    assert "nights go from 2017-11-01" in record["error"]
    again(lab, rules, record["_id"], start_date="2017-01-01")
    (record,) = lab.store.quarantine.find()
    assert "nights go from 2017-01-01" in record["error"]


def test_the_rest_of_an_archive_is_not_replayed(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    path.write_bytes(b"no archive at all")
    lab.run(lab.rules("ALL"), read_file(path))
    (record,) = lab.store.quarantine.find()
    assert (record["reason"], record["replayable"]) == ("TRUNCATED_ARCHIVE", False)
    assert counts(again(lab, lab.rules("ALL"), record["_id"])) == (0, 0, 0, 0, 0)
    assert lab.store.quarantine.count() == 1


@pytest.mark.parametrize("change", [{"name": "ZTF18aaaaaab"}, {"jd": JD + 1}], ids=["other object", "other time"])
@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two runs"])
def test_two_alerts_with_one_id(lab: Any, change: dict[str, Any], together: bool) -> None:
    """The first that came counts; the other is neither lost nor mixed with it."""
    first, second = (make_alert(**{"candid": 123, "jd": JD, "cutouts": False, **more}) for more in ({}, change))
    packets = lab.packets(first, second, source="twins.tar")
    if together:
        assert counts(lab.run(lab.rules("ALL"), packets)) == (2, 1, 0, 0, 1)
    else:
        lab.run(lab.rules("ALL"), packets[:1])
        before = lab.content("source")["ztf.alert"]
        assert counts(lab.run(lab.rules("ALL"), packets[1:])) == (1, 0, 0, 0, 1)
        assert lab.content("source")["ztf.alert"] == before
    (record,) = lab.store.quarantine.find()
    assert (record["reason"], record["offset"]) == ("ID_CONFLICT", 1)
    assert "123" in record["error"]


def test_a_file_that_is_too_large_is_not_read_whole(lab: Any, tmp_path: Path) -> None:
    path = tmp_path / "huge.avro"
    with path.open("wb") as file:
        file.write(sound())
        file.truncate(80_000_000)  # a hole: takes no room
    (found,) = read_file(path)
    tally = lab.run(lab.rules("ALL"), [found])
    assert counts(tally) == (1, 0, 0, 0, 1)
    (record,) = lab.store.quarantine.find()
    assert (record["reason"], record["size_bytes"], record["replayable"]) == ("TOO_LARGE", 80_000_000, False)
    assert len(lab.store.quarantine.raw(record["_id"])) == MAX_ALERT_BYTES


def test_records_by_source_and_reason(lab: Any) -> None:
    bad = [Packet(b"Obj", "a.tar", 0), Packet(b"x", "a.tar", 1), Packet(b"y", "b.tar", 0)]
    lab.run(lab.rules("ALL"), bad)
    assert lab.store.quarantine.by_reason("ztf") == {"a.tar": {"NOT_AVRO": 2}, "b.tar": {"NOT_AVRO": 1}}
    assert [d["offset"] for d in lab.store.quarantine.find(source="a.tar", reason="NOT_AVRO")] == [0, 1]
    assert lab.store.quarantine.find(reason="TRUNCATED") == []
    assert lab.store.quarantine.by_reason("lsst") == {}


def test_news_of_a_finished_batch_are_not_overwritten(lab: Any) -> None:
    """Verdicts on rejected alerts are not kept, so these are judged again: in a batch of their own."""

    rules = lab.rules("ALL", access=("ZTF", "ZTF_PUB"), reactions=("table",))
    packets = lab.packets(make_alert(cutouts=False), make_alert(name="ZTF18aaaaaab", programid=2, tblid=2))
    lab.run([rules], packets, rejected_days=0)
    lab.run([rules], packets, rejected_days=0)
    assert len(lab.store.batches.unhandled("table", "ALL", "ztf")) == 1
    assert ledger(lab.store, "ztf", []).balanced


def test_a_short_ledger_adds_up(lab: Any) -> None:
    bad = [Packet(b"x", "file3.avro", 0)]
    good = [Packet(encode_packet(make_alert(tblid=n + 1, cutouts=False)), f"file{n}.avro", 0) for n in range(10)]
    lab.run(lab.rules("ALL"), [*good, *bad])
    report = ledger(lab.store, "ztf", [])
    assert report.short(20) == report.rows
    short = report.short(4)
    assert short[0]["source"] == "file3.avro"
    assert short[-1]["source"] == "7 others"
    assert replace(report, rows=short).total == report.total
