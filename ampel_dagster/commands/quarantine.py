"""``quarantine list``, ``show``, ``replay`` and ``drop``."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import click
from rich.markup import escape
from rich.table import Table

from ampel_dagster.commands.ingesting import run_ingest
from ampel_dagster.commands.session import Session, console, hex_id, out, session, survey_of
from ampel_dagster.model.errors import UserError
from ampel_dagster.storage.collections import Document

#: Rows of a table for people.
_SHOWN = 200
#: Bytes that `show` prints.
_DUMPED = 128
_LEAST_DIGITS = 4
_CUT = "its bytes are not all kept; get the file again, and ingest it"


class Which(NamedTuple):
    """Records that a command is about."""

    #: Ids as people write them: hexadecimal digits, the first few of them where that is unique.
    ids: Sequence[str] = ()
    reason: str | None = None
    source: str | None = None
    survey: str | None = None
    all: bool = False


def list_records(which: Which, *, as_json: bool) -> None:
    """What is in quarantine."""
    with session() as current:
        found = _chosen(current, which)
        if as_json:
            for d in found:
                click.echo(json.dumps(_plain(d)))
            return
        if not found:
            out.print("nothing is in quarantine" if which == Which() else "no record is like that")
            return
        table = Table("id", "reason", "survey", "source", "packet", "bytes", "error", title="quarantine")
        for d in found[:_SHOWN]:
            where = (d["survey"], escape(d["source"]), str(d["offset"]), str(d["size_bytes"]))
            table.add_row(hex_id(d["_id"]), d["reason"], *where, escape(d["error"]))
        out.print(table)
        if len(found) > _SHOWN:
            out.print(f"… and {len(found) - _SHOWN} more: --json lists all")
        reasons = Counter(d["reason"] for d in found)
        out.print(f"{len(found)} records: " + ", ".join(f"{n} {reason}" for reason, n in reasons.most_common()))


def show(id_: str, save: Path | None) -> None:
    """All that is known of one record."""
    with session() as current:
        (d,) = _chosen(current, Which(ids=[id_]))
        raw = current.store.quarantine.raw(d["_id"])
        if save is not None:
            _save(raw, save)
        table = Table(show_header=False, title=f"quarantine {hex_id(d['_id'])}")
        for key in ("reason", "error", "survey", "source", "offset", "member", "size_bytes"):
            table.add_row(key, escape(str(d[key])))
        table.add_row("kept", f"{len(raw)} bytes" + ("" if d["replayable"] else f": {_CUT}"))
        table.add_row("run", f"{d['meta']['run']}, {d['meta']['ts']:%Y-%m-%d %H:%M:%S} UTC")
        out.print(table)
        for start in range(0, min(len(raw), _DUMPED), 16):
            row = raw[start : start + 16]
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
            out.print(f"{start:08x}  {row.hex(' '):<47}  {escape(text)}", highlight=False)


def _save(raw: bytes, path: Path) -> None:
    path = path.expanduser()
    try:
        with path.open("xb") as file:
            file.write(raw)
    except FileExistsError:
        raise UserError(f"{path} is there already; choose another name") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from None
    console.print(f"{len(raw)} bytes written to {escape(str(path))}", soft_wrap=True)


def replay(which: Which) -> None:
    """Read records once more, by the job `ingest`."""
    _must_choose(which)
    with session() as current:
        found = _chosen(current, which)
        good = [d for d in found if d["replayable"]]
        for d in found:
            if not d["replayable"]:
                console.print(f"{hex_id(d['_id'])} ({d['reason']}) cannot be replayed: {_CUT}", soft_wrap=True)
        if not good:
            raise UserError("nothing to replay: " + ("no record is like that" if not found else _CUT))
    by_survey = sorted(good, key=itemgetter("survey"))
    for survey, records in groupby(by_survey, key=itemgetter("survey")):
        ids = [d["_id"] for d in records]
        run_ingest(current.instance, {"survey": survey, "quarantined": [str(i) for i in ids]}, f"{len(ids)} records")
    with session() as current:
        left = [d for e in good for d in current.store.quarantine.find(_id=e["_id"])]
        out.print(f"{len(good)} replayed: {len(good) - len(left)} can be read now, {len(left)} stay in quarantine")
        for d in left[:20]:
            out.print(escape(f"  {hex_id(d['_id'])} {d['reason']}: {d['error']}"), soft_wrap=True)


def drop(which: Which, *, yes: bool) -> None:
    """Forget records, after asking."""
    _must_choose(which)
    with session() as current:
        found = _chosen(current, which)
        if not found:
            out.print("no record is like that")
            return
        if not yes and not click.confirm(f"Forget {len(found)} records, with their bytes?"):
            return
        out.print(f"{current.store.quarantine.remove([d['_id'] for d in found])} records are gone")


def _must_choose(which: Which) -> None:
    if which == Which():
        raise UserError("say which: an id, --reason, --source, --survey, or --all")


def _chosen(current: Session, which: Which) -> list[Document]:
    if which.survey is not None:
        survey_of(current.config, which.survey)
    found = current.store.quarantine.find(reason=which.reason, source=which.source, survey=which.survey)
    if not which.ids:
        return found
    chosen: dict[int, Document] = {}
    for text in which.ids:
        like = [d for d in found if len(text) >= _LEAST_DIGITS and hex_id(d["_id"]).startswith(text.lower())]
        if len(like) != 1:
            said = "several records begin so" if like else "no such record"
            raise UserError(f"{text}: {said} in quarantine; `ampel-dagster quarantine list` names them")
        chosen[like[0]["_id"]] = like[0]
    return list(chosen.values())


def _plain(d: Document) -> Document:
    """A record as JSON."""
    keys = ("reason", "error", "survey", "source", "offset", "member", "size_bytes", "replayable")
    found = {"id": hex_id(d["_id"])} | {key: d[key] for key in keys}
    return found | {"run": d["meta"]["run"], "ts": d["meta"]["ts"].isoformat()}
