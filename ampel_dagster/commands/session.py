"""The instance, configuration and database that a command works with."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

from rich.console import Console

from ampel_dagster.config.instance import Instance, locate
from ampel_dagster.config.load import Config, load
from ampel_dagster.model.errors import UserError
from ampel_dagster.storage.access import open_store
from ampel_dagster.storage.store import Store

#: For people; results for programs go to stdout by `click.echo`.
console = Console(stderr=True, highlight=False)
#: Where it is no terminal (a file, a pipe), lines are as long as they need to be.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 240)


@dataclass(frozen=True)
class Session:
    """What is in force."""

    instance: Instance
    config: Config
    store: Store


@contextmanager
def session() -> Iterator[Session]:
    """Open what is in force; the configuration is checked before the database is touched."""
    instance = locate()
    config = load(instance.folder)
    store = open_store(instance.folder)
    try:
        yield Session(instance, config, store)
    finally:
        store.close()


def enter(instance: Instance) -> None:
    """Make the instance the home of Dagster, and the one that definitions are loaded from."""
    os.environ["DAGSTER_HOME"] = str(instance.folder)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"  # also where somebody left dagster.yaml out
    os.environ["AMPEL_INSTANCE"] = str(instance.folder)


def known(kind: str, names: Sequence[str], there: Sequence[str]) -> None:
    """Raise UserError for the first name that does not exist, with the nearest that does."""
    for name in names:
        if name not in there:
            near = get_close_matches(name, there, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(there) or 'none'}"
            raise UserError(f"no {kind} is called {name!r}; {hint}")


def survey_of(config: Config, survey: str | None) -> str:
    """A survey that has a stream, by default the only one; else UserError."""
    if survey is not None:
        known("survey", [survey], config.surveys)
        return survey
    if not config.surveys:
        raise UserError("there is no survey; add a file to streams/")
    if len(config.surveys) > 1:
        raise UserError(f"which survey? say --survey and one of: {', '.join(config.surveys)}")
    return config.surveys[0]


def hex_id(id_: int) -> str:
    """A 64-bit id as people see it: sixteen hexadecimal digits, without a sign that looks like an option."""
    return f"{id_ & (1 << 64) - 1:016x}"
