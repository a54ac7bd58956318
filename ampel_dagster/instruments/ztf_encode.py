"""Packets as ZTF publishes them: an uncompressed Avro container file for each alert."""

from collections.abc import Mapping
from hashlib import blake2b
from io import BytesIO
from typing import Any

import fastavro

from ampel_dagster.instruments.ztf_schema import ALERT

_SCHEMA = fastavro.parse_schema(ALERT)


def encode_packet(packet: Mapping[str, Any]) -> bytes:
    """Bytes of the packet; the same packet always gives the same bytes.

    Raises ValueError or TypeError where a field is unknown, of the wrong type, or missing and not to be null.
    """
    buffer = BytesIO()
    # Avro separates blocks by 16 bytes, random by custom: taken from the alert's id, they stay the same.
    marker = blake2b(str(packet["candid"]).encode(), digest_size=16).digest()
    fastavro.writer(buffer, _SCHEMA, [packet], codec="null", sync_marker=marker, strict_allow_default=True)
    return buffer.getvalue()
