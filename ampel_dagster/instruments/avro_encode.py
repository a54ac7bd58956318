"""Avro container files of one record, as ZTF sends them: a message that is read without a schema registry."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import fastavro


def encode_container(schema: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """One record with its schema, uncompressed (Avro 1.11, object container files).

    Raises ValueError or TypeError where a field is unknown, of the wrong type, or missing and without a default.
    """
    buffer = BytesIO()
    fastavro.writer(buffer, fastavro.parse_schema(dict(schema)), [record], codec="null", strict_allow_default=True)
    return buffer.getvalue()
