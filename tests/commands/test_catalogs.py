"""Catalogues from the command line."""

import pytest

from ampel_dagster.storage.store import Store
from tests.commands.test_filters import Shell
from tests.conftest import write_instance

STARS = "ra,dec,kind,z\n150.0,2.0,EW,0.1\n150.0,2.1,EA,\n"


@pytest.fixture
def shell(tmp_path, mongo_uri):
    product = {"unit": "CatalogMatch", "config": {"catalogs": {"stars": {"radius_arcsec": 2, "stored": True}}}}
    write_instance(tmp_path, {"A": {"t2": ["near"]}}, {"t2/near.yaml": product})
    (tmp_path / "stars.csv").write_text(STARS)
    shell = Shell(tmp_path, mongo_uri)
    yield shell
    store = Store.open(mongo_uri, shell.env["AMPEL_DB"])
    store.drop()
    store.close()


def test_load_list_and_drop(shell):
    file = shell.folder / "stars.csv"
    assert shell.ok("catalog", "list").strip() == "no catalogue was loaded"
    assert "with 2 rows is in force" in shell.ok("catalog", "load", file, "--name", "stars")
    assert "is there already" in shell.ok("catalog", "load", file, "--name", "stars")
    (record,) = shell.json("catalog", "list")
    assert (record["_id"], record["rows"], record["columns"]) == ("stars", 2, ["kind", "z"])
    assert record["version"] in shell.ok("catalog", "list")
    assert "with 2 rows is in force" in shell.ok("catalog", "load", file, "--name", "stars", "--column", "kind")
    asked = shell("catalog", "drop", "stars", input="n\n")
    assert "will wait for it: near" in asked.output
    assert len(shell.json("catalog", "list")) == 1
    shell.ok("catalog", "drop", "stars", "--yes")
    assert shell.json("catalog", "list") == []


def test_what_users_get_wrong_is_one_line(shell):
    file = shell.folder / "stars.csv"
    assert "--name 'my stars'" in shell.error("catalog", "load", file, "--name", "my stars")
    assert "belong together" in shell.error("catalog", "load", file, "--name", "stars", "--ra", "ra")
    assert "there is no file" in shell.error("catalog", "load", shell.folder / "no.csv", "--name", "stars")
    assert "there is no column 'mag'" in shell.error("catalog", "load", file, "--name", "stars", "--column", "mag")
    assert "no catalogue is called 'stars'" in shell.error("catalog", "drop", "stars", "--yes")
