"""Medians and the table."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from cases import LIKE, TITLES
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
    with_peer = any(system == "peer" for system, _ in found)
    result = Table(title="medians; CPU in ms per alert, ticket or object", title_justify="left")
    result.add_column("case")
    titles = ["rate/s", "Python", "mongod", "MB above idle", "other CPU s"]
    if with_peer:
        titles += ["AMPEL rate/s", "Python", "mongod", "peak MB", "other CPU s", "rate ratio", "CPU ratio"]
    for title in titles:
        result.add_column(title, justify="right")
    for case, title in TITLES.items():
        ours = found.get(("ours", case))
        if ours is None:
            continue
        cells = [_rate(ours), *_cpu(ours), f"{ours['rss_above_idle_mb']:.0f}", f"{ours['cpu_other_s']:.1f}"]
        peer = found.get(("peer", LIKE.get(case, case)))
        if with_peer and peer is not None:
            cells += [_rate(peer), *_cpu(peer), f"{peer['rss_py_mb']:.0f}", f"{peer['cpu_other_s']:.1f}"]
            cells += [f"{ours['rate'] / peer['rate']:.1f}", f"{_total(peer) / _total(ours):.1f}"]
        result.add_row(title, *cells)
    return result


def growth_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Cost per alert as the database grows."""
    result = Table(title="cost of the last thousand alerts before each size (ms per alert)", title_justify="left")
    for title in ("alerts", "rate/s", "Python", "mongod", "MB above idle"):
        result.add_column(title, justify="right")
    for record in map(per_item, records):
        result.add_row(f"{record['alerts']:,}", _rate(record), *_cpu(record), f"{record['rss_above_idle_mb']:.0f}")
    return result


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
