"""Medians and tables; run as a script, it shows those of a file of results, with --markdown for documentation."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from cases import LIKE, TITLES
from rich.console import Console
from rich.table import Table

Figures = dict[str, float]
_AVERAGED = ("rate", "py_ms", "mongod_ms", "rss_above_idle_mb", "rss_py_mb", "cpu_other_s", "wall_s")


def medians(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Figures]:
    """Medians of the repetitions by (system, case)."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        if record["kind"] == "step":
            found.setdefault((record["system"], record["case"]), []).append(per_item(record))
    return {
        key: {name: median(r[name] for r in rows) for name in _AVERAGED if all(name in r for r in rows)}
        for key, rows in found.items()
    }


def per_item(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its CPU times by item, in milliseconds."""
    per = 1000 / record["n"]
    return {**record, "py_ms": record["cpu_py_s"] * per, "mongod_ms": record["cpu_mongod_s"] * per}


def table(found: Mapping[tuple[str, str], Figures]) -> Table:
    """Ours and the peer's figures side by side; ratios above 1 say that ours is better."""
    return _table("medians; CPU in ms per alert, ticket or object", _rows(found))


def growth_table(records: Iterable[Mapping[str, Any]]) -> Table:
    """Cost per alert as the database grows."""
    return _table("cost of the last thousand alerts before each size (ms per alert)", _growth_rows(records))


def stages_table(records: Iterable[Mapping[str, Any]]) -> Table:
    """CPU by stage."""
    return _table("where the time goes (CPU, microseconds an alert)", _stage_rows(records))


def _stage_rows(records: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    found: dict[str, list[Mapping[str, float]]] = {}
    for record in records:
        if record["kind"] == "stages":
            found.setdefault(record["case"], []).append(record["stages"])
    names = list(next(iter(found.values()))[0]) if found else []
    middle = {case: {name: median(row[name] for row in rows) for name in names} for case, rows in found.items()}
    head = ["stage", *(TITLES[case] for case in middle)]
    body = [[name, *(f"{values[name]:.0f}" for values in middle.values())] for name in names]
    return [head, *body, ["all", *(f"{sum(values.values()):.0f}" for values in middle.values())]]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Rows, of which the first is the head, as a table of a document."""
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    result = Table(title=title, title_justify="left")
    head, *body = rows
    for number, name in enumerate(head):
        result.add_column(name, justify="right" if number else "left")
    for row in body:
        result.add_row(*row)
    return result


def _rows(found: Mapping[tuple[str, str], Figures]) -> list[list[str]]:
    with_peer = any(system == "peer" for system, _ in found)
    rows = [["case", "rate/s", "Python ms", "mongod ms", "MB above idle", "other CPU s"]]
    if with_peer:
        rows[0] += ["AMPEL rate/s", "Python ms", "mongod ms", "peak MB", "other CPU s", "rate ratio", "CPU ratio"]
    for case, title in TITLES.items():
        ours = found.get(("ours", case))
        if ours is None:
            continue
        row = [title, _rate(ours), *_cpu(ours), f"{ours['rss_above_idle_mb']:.0f}", f"{ours['cpu_other_s']:.1f}"]
        peer = found.get(("peer", LIKE.get(case, case)))
        if with_peer and peer is not None:
            row += [_rate(peer), *_cpu(peer), f"{peer['rss_py_mb']:.0f}", f"{peer['cpu_other_s']:.1f}"]
            row += [f"{ours['rate'] / peer['rate']:.1f}", f"{_total(peer) / _total(ours):.1f}"]
        rows.append(row)
    return rows


def _growth_rows(records: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    body = [
        [f"{record['alerts']:,}", _rate(record), *_cpu(record), f"{record['rss_above_idle_mb']:.0f}"]
        for record in map(per_item, records)
    ]
    return [["alerts", "rate/s", "Python ms", "mongod ms", "MB above idle"], *body]


def differing(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Cases after which the two databases don't hold the same number of documents."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        if record["kind"] == "step" and record["case"] != "reject_bytes":
            found.setdefault(record["case"], {})[record["system"]] = record["documents"]
    return [
        f"{case}: ours {documents['ours']}, AMPEL {documents['peer']}"
        for case, documents in found.items()
        if len(documents) == 2 and documents["ours"] != documents["peer"]
    ]


def _rate(figures: Mapping[str, Any]) -> str:
    return f"{figures['rate']:,.0f}"


def _cpu(figures: Mapping[str, Any]) -> tuple[str, str]:
    return f"{figures['py_ms']:.3f}", f"{figures['mongod_ms']:.3f}"


def _total(figures: Mapping[str, float]) -> float:
    return figures["py_ms"] + figures["mongod_ms"]


def main() -> None:
    """Show the tables of a file of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    records = [json.loads(line) for line in args.file.read_text().splitlines()]
    found, growth = medians(records), [record for record in records if record["kind"] == "growth"]
    if args.markdown:
        stages = any(record["kind"] == "stages" for record in records)
        more = ([markdown(_growth_rows(growth))] if growth else []) + (
            [markdown(_stage_rows(records))] if stages else []
        )
        print(markdown(_rows(found)), *more, sep="\n\n")
        return
    console = Console(width=200)
    console.print(table(found))
    if growth:
        console.print(growth_table(growth))
    console.print(stages_table(records))


if __name__ == "__main__":
    main()
