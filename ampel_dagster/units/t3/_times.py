"""Julian dates as other people write them."""

from datetime import UTC, datetime, timedelta

_UNIX_EPOCH_JD = 2440587.5
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_of_jd(jd: float) -> str:
    """A Julian date (UTC) by ISO 8601, to the millisecond and without a zone, as in 2018-08-19T03:00:00.000."""
    return iso(_UNIX_EPOCH + timedelta(days=jd - _UNIX_EPOCH_JD, milliseconds=0.5))


def iso(time: datetime) -> str:
    """A time of the same form."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03}"
