"""Containers of one record: what other libraries read."""

from io import BytesIO

import fastavro
import pytest

from ampel_dagster.instruments.avro_encode import encode_container

SCHEMA = {
    "type": "record",
    "name": "Star",
    "fields": [{"name": "id", "type": "long"}, {"name": "mag", "type": ["null", "double"], "default": None}],
}


def test_container_holds_its_schema() -> None:
    data = encode_container(SCHEMA, {"id": 2**62 + 1, "mag": 18.5})
    assert data.startswith(b"Obj\x01")
    reader = fastavro.reader(BytesIO(data))
    assert list(reader) == [{"id": 2**62 + 1, "mag": 18.5}]
    assert reader.writer_schema["name"] == "Star"


def test_missing_values_become_their_default() -> None:
    assert list(fastavro.reader(BytesIO(encode_container(SCHEMA, {"id": 1})))) == [{"id": 1, "mag": None}]


@pytest.mark.parametrize("record", [{"mag": 1.0}, {"id": "one"}, {"id": 1, "color": "red"}])
def test_what_does_not_fit_is_refused(record: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        encode_container(SCHEMA, record)
