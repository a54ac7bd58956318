"""Requests to receivers, and what their answers mean for a message."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from ssl import SSLContext
from urllib.parse import urlsplit

from ampel_dagster.model.errors import BusyError, RefusedError

_TOO_MANY, _UNAVAILABLE = 429, 503
#: Characters of an answer that are kept.
_KEPT = 300


def post(url: str, content: bytes, headers: Mapping[str, str], timeout_s: float, *, whole: bool = False) -> str:
    """Post; return the receiver's answer in short, or the `whole` of its text.

    Raises BusyError where nobody is there, or the receiver asks us to come later (429, 503); RefusedError where it says
    no (other 4xx). After any other exception it is not known whether the message arrived.
    """
    import httpx  # here: most commands send nothing

    try:
        answer = httpx.post(url, content=content, headers=dict(headers), timeout=timeout_s, verify=_tls())
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise BusyError(f"nobody answers at {_host(url)} ({type(error).__name__})") from None
    except httpx.UnsupportedProtocol:
        raise RefusedError(f"{url[:80]!r} is no address of a web server") from None
    said = f"{answer.status_code} {answer.reason_phrase}: {answer.text[:_KEPT]}".strip(": ")
    if answer.is_success:
        return answer.text if whole else said
    if answer.status_code in (_TOO_MANY, _UNAVAILABLE):
        raise BusyError(said, retry_after_s(answer.headers.get("Retry-After")))
    if answer.is_client_error or answer.is_redirect:
        raise RefusedError(said)
    raise ConnectionError(said)


@lru_cache(maxsize=1)
def _tls() -> SSLContext:
    """Certificates to trust. Reading them takes longer (75 ms) than a whole request: they are read once."""
    import httpx

    return httpx.create_ssl_context()


def retry_after_s(value: str | None) -> float | None:
    """Seconds that the header Retry-After asks for, a number or a date (RFC 9110, section 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _host(url: str) -> str:
    """Of an address only what holds no secret."""
    return urlsplit(url).hostname or "?"
