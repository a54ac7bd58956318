"""What could work better is said."""

from ampel_dagster.config.advice import advice
from ampel_dagster.instruments import avro_container


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(avro_container, "avro_rows", object())
    assert advice() == []
    monkeypatch.setattr(avro_container, "avro_rows", None)
    (line,) = advice()
    assert "gcc" in line
