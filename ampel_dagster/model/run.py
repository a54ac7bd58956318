"""Who writes: the run that every document leads back to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

#: Version of the pipeline's own code; part of every document's `meta`.
CODE_VERSION = "0.1.0"

Mode = Literal["live", "archive"]


def utc_now() -> datetime:
    """Now, in UTC and to the millisecond, which is what MongoDB keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """Identity of one run: a Dagster run id, or a name chosen by who calls the pipeline directly."""

    run: str
    #: Id of the validated configuration; its text is in the collection `config`.
    config: int
    #: Runs over archives send nothing outside unless a process asks for it.
    mode: Mode = "live"

    def meta(self, **more: Any) -> Mapping[str, Any]:
        """The `meta` that a document written now carries."""
        return {"run": self.run, "version": CODE_VERSION, "config": self.config, "ts": utc_now(), **more}
