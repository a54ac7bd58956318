"""What reads packets is tested twice: with the compiled reader of records, and without."""

import pytest

from ampel_dagster.instruments import avro_container


@pytest.fixture(params=["compiled", "fastavro"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How records are read."""
    if request.param == "fastavro":
        monkeypatch.setattr(avro_container, "avro_rows", None)
    elif not avro_container.compiled():
        pytest.skip("there was no C compiler when the project was installed")
    name: str = request.param
    return name
