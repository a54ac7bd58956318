"""Deterministic 64-bit ids.

Every document's ``_id`` is computed from what it names (never drawn), so that a replay finds its own documents and
two workers that race end with the same ones. All hashes are BLAKE2b with an 8-byte digest, read as a signed
big-endian integer: the form that MongoDB stores in 8 bytes. With 1e9 documents in a collection the chance of any
collision is 3 % (birthday bound); within one stock, where it would matter, it is nil.
"""

import json
import struct
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any


def hash64(data: bytes) -> int:
    """Signed 64-bit BLAKE2b of `data`."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big", signed=True)


def hash_ints(*values: int) -> int:
    """Id of a tuple of signed 64-bit integers; order matters."""
    return hash64(struct.pack(f">{len(values)}q", *values))


def hash_json(value: Any) -> int:
    """Id of a JSON-like value; the order of keys does not matter, the order of lists does.

    Raises TypeError for what JSON cannot hold, and ValueError for NaN, so that nothing is hashed by its `repr`.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hash64(text.encode())


def state_link(combiner_id: int, stock: int, dps: Iterable[int]) -> int:
    """Identity of a state: the combiner that joined it, its stock and its *set* of datapoint ids."""
    ids = sorted(set(dps))
    return hash64(struct.pack(f">{len(ids) + 2}q", combiner_id, stock, *ids))
