"""FileArchive: what is written, and that it is whole."""

import gzip
import json
from hashlib import sha256
from pathlib import Path

from ampel_dagster.units.t3.file_archive import FileArchive
from tests.units.t3.receivers import context, seen


def test_lines_and_manifest(tmp_path: Path) -> None:
    artefacts = FileArchive().write([seen("A", 1, chi2=1.5), seen("B", 2)], context(tmp_path))
    assert [(artefact.path.name, artefact.rows) for artefact in artefacts] == [
        ("objects.jsonl.gz", 2),
        ("manifest.json", 2),
    ]
    content = artefacts[0].path.read_bytes()
    first, second = map(json.loads, gzip.decompress(content).decode().splitlines())
    assert (first["name"], first["stock"], first["states"], first["alerts"]) == ("A", 1, [3], [7])
    assert first["t2"]["fit"] == {"unit": "Fit", "version": "1", "code": 0, "body": {"chi2": 1.5}, "run": "run-1"}
    assert [point["jd"] for point in first["light_curve"]] == [1.0, 2.0, 3.0]
    assert second["t2"] == {}
    manifest = json.loads(artefacts[1].path.read_text())
    assert (manifest["sha256"], manifest["bytes"], manifest["objects"]) == (
        sha256(content).hexdigest(),
        len(content),
        2,
    )
    assert (manifest["channel"], manifest["night"], manifest["run"]) == ("BRIGHT", "2018-08-19", "run-9")


def test_same_objects_same_file(tmp_path: Path) -> None:
    unit, views = FileArchive(), [seen("A", 1, b=1, a=[float("nan"), 2])]
    one = unit.write(views, context(tmp_path / "one"))[0].path.read_bytes()
    two = unit.write(views, context(tmp_path / "two"))[0].path.read_bytes()
    assert one == two
    assert b'"a": [null, 2]' in gzip.decompress(one)


def test_parts_may_be_left_out(tmp_path: Path) -> None:
    path = FileArchive(light_curves=False, t2=False).write([seen("A", chi2=1.0)], context(tmp_path))[0].path
    assert {"t2", "light_curve"}.isdisjoint(json.loads(gzip.decompress(path.read_bytes())))
