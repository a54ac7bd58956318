"""The VOEvent Transport Protocol, as far as an author needs it (IVOA Recommendation 2.0, 2017-03-20).

The author connects to a broker, sends the length of the event (4 bytes, most significant first) and the event, and gets
back, in the same form, a Transport document whose role is ``ack`` or ``nak``.
"""

import re
import socket
import struct
from time import monotonic
from xml.etree import ElementTree

from ampel_dagster.model.errors import BusyError, RefusedError

#: Transport documents have some hundred bytes.
_LONGEST_ANSWER = 100_000
_LENGTH = struct.Struct(">I")
#: What brokers say of an event that they have.
_KNOWN = re.compile(r"previously seen|already (seen|received|known)|duplicate", re.IGNORECASE)


def hand_over(broker: str, event: bytes, timeout_s: float) -> str:
    """Hand an event to a broker (host:port); return what it answers.

    A broker that has the event already is content, too. Raises BusyError where nobody is there, RefusedError where the
    broker says no. After any other exception it is not known whether the event arrived.
    """
    host, _, port = broker.rpartition(":")
    end = monotonic() + timeout_s
    try:
        line = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout_s)
    except OSError as error:
        raise BusyError(f"nobody answers at {broker} ({type(error).__name__})") from None
    with line:
        line.settimeout(timeout_s)
        line.sendall(_LENGTH.pack(len(event)) + event)
        (length,) = _LENGTH.unpack(_read(line, _LENGTH.size, end))
        if length > _LONGEST_ANSWER:
            raise ConnectionError(f"{broker} answers with {length} bytes, which is no Transport document")
        return _meaning(broker, _read(line, length, end))


def _read(line: socket.socket, size: int, end: float) -> bytes:
    """So many bytes, before the time is up."""
    found = b""
    while len(found) < size:
        left = end - monotonic()
        if left <= 0:
            raise TimeoutError("no whole answer in time")
        line.settimeout(left)
        part = line.recv(size - len(found))
        if not part:
            raise ConnectionError("the broker hung up without a whole answer")
        found += part
    return found


def _meaning(broker: str, answer: bytes) -> str:
    if b"<!" in answer:  # entities could make much of little
        raise ConnectionError(f"{broker} answers with a document type, which Transport documents do not have")
    try:
        root = ElementTree.fromstring(answer)  # noqa: S314  # no document type, no entities
    except ElementTree.ParseError as error:
        raise ConnectionError(f"{broker} answers with no XML ({error})") from None
    role, said = root.get("role"), (root.findtext("Meta/Result") or "").strip()[:300]
    who = (root.findtext("Response") or broker).strip()[:200]
    if role == "ack" or (role == "nak" and _KNOWN.search(said)):
        return f"{role} from {who}" + (f": {said}" if said else "")
    if role == "nak":
        raise RefusedError(f"nak from {who}: {said or 'no reason given'}")
    raise ConnectionError(f"{broker} answers with the role {role!r}, neither ack nor nak")
