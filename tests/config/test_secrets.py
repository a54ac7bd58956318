"""Secrets by name: from the environment, else from a file of the instance."""

from pathlib import Path

import pytest

from ampel_dagster.config.secrets import Secrets
from ampel_dagster.model.errors import UserError


def test_environment_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "SLACK").write_text("from the file\n")
    assert Secrets(tmp_path, {})("SLACK") == "from the file"
    assert Secrets(tmp_path, {"AMPEL_SECRET_SLACK": "from outside"})("SLACK") == "from outside"


def test_secret_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^there is no secret TNS: set AMPEL_SECRET_TNS, or .*/secrets/TNS$"):
        Secrets(tmp_path, {"AMPEL_SECRET_TNS": ""})("TNS")


@pytest.mark.parametrize("name", ["", "../passwd", "a b", "9x"])
def test_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="is no name of a secret"):
        Secrets(tmp_path, {})(name)


def test_file_that_cannot_be_read_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "BAD").write_bytes(b"hush\xff\xfe")
    with pytest.raises(UserError) as caught:
        Secrets(tmp_path, {})("BAD")
    assert "hush" not in str(caught.value)


def test_nothing_is_shown(tmp_path: Path) -> None:
    assert "hush" not in repr(Secrets(tmp_path, {"AMPEL_SECRET_SLACK": "hush"}))
