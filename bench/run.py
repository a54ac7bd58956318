"""Measure the tiers, and AMPEL beside them, on one embedded mongod in a temporary folder.

\b
    make bench                                          # ours alone, simulated packets
    python bench/run.py --alerts night.tar.gz --times 20 --peer
    python bench/run.py --only cold_bytes --reps 5
    python bench/run.py --only '' --stages --growth 1e3,1e4

Every step runs in a process of its own, every chain of steps on an empty database, ours and AMPEL's in turn, so that a
noisy machine disturbs both alike. All single figures go to a file, one line of JSON each; medians are shown.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import psutil
from cases import CHAINS, STAGED, TITLES, Step
from packets import tar_path
from peer import PREFIX, Peer
from pymongo import MongoClient
from report import differing, growth_table, medians, stages_table, table
from rich.console import Console
from rich.progress import Progress

from ampel_dagster.storage.server import EmbeddedServer

_DATABASE = "bench_ours"


@dataclass
class Session:
    """One run of the benchmark: where it happens, and what was found so far."""

    folder: Path
    uri: str
    mongod_pid: int
    output: Path
    peer: Peer | None = None
    records: list[dict[str, Any]] = field(default_factory=list)

    def put(self, record: dict[str, Any]) -> None:
        """Keep a record, also in the file."""
        self.records.append(record)
        with self.output.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def ours(self, arguments: Sequence[str], tar: Path, *, fresh: bool) -> Any:
        """Do one of our steps."""
        where = ["--uri", self.uri, "--database", _DATABASE, "--mongod-pid", str(self.mongod_pid), "--tar", str(tar)]
        return json.loads(_script("ours.py", [*arguments, *where, *(["--fresh"] if fresh else [])]))

    def stages(self, rep: int) -> None:
        """Where the time goes in T0 and T1, case by case; the clocks of the stages slow it down by some percent."""
        for chain in CHAINS:
            measured = [step.case for step in chain if step.case in STAGED]
            fresh = True
            for step in chain if measured else ():
                if step.ours[0] == "ingest":
                    arguments, tar = (*step.ours, "--stages"), tar_path(self.folder, step.packets)
                    found = self.ours(arguments, tar, fresh=fresh)
                    if step.case in measured:
                        self.put({"kind": "stages", "case": step.case, "rep": rep, **found})
                fresh = False

    def chain(self, chain: Sequence[Step], rep: int, only: Sequence[str]) -> None:
        """Do a chain of steps, ours and then the peer's."""
        for system in ("ours", "peer"):
            fresh = True
            for step in chain:
                arguments, tar = getattr(step, system), tar_path(self.folder, step.packets)
                if not arguments or (system == "peer" and self.peer is None):
                    continue
                if system == "peer" and self.peer is not None:
                    found = self.peer.step(arguments, tar, fresh=fresh)
                else:
                    found = self.ours(arguments, tar, fresh=fresh)
                fresh = False
                if step.case in only:
                    self.put({"kind": "step", "system": system, "case": step.case, "rep": rep, **found})


def _numbers(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[int]:
    try:
        return [int(float(size)) for size in value.split(",")] if value else []
    except ValueError:
        raise click.BadParameter("numbers with commas between them, as in 1e3,1e4") from None


def _cases(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str]:
    names = list(TITLES) if value is None else [name for name in value.split(",") if name]
    unknown = sorted(set(names) - set(TITLES))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; there are: {', '.join(TITLES)}")
    return names


_FILE = click.Path(exists=True, path_type=Path)
_RESULTS = Path(__file__).with_name("results.jsonl")


@click.command(help=__doc__, context_settings={"max_content_width": 120})
@click.option("--alerts", type=_FILE, help="Real packets (file or folder); without it, simulated ones.")
@click.option("--number", type=click.IntRange(1), default=600, show_default=True, help="Simulated packets, about.")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="Copies of each packet.")
@click.option("--reps", type=click.IntRange(1), default=3, show_default=True, help="Repetitions of each case.")
@click.option("--only", callback=_cases, help="Cases, with commas between them; '' for none.")
@click.option("--growth", callback=_numbers, metavar="SIZES", help="Cost per alert at these sizes, as in 1e3,1e4.")
@click.option("--stages", is_flag=True, help="Where the time goes in T0 and T1, too.")
@click.option("--peer/--no-peer", help="Measure AMPEL too.")
@click.option("--peer-python", type=_FILE, envvar="AMPEL_PEER_PYTHON", help="Interpreter with AMPEL.")
@click.option("--peer-dir", type=_FILE, envvar="AMPEL_PEER_DIR", help="Folder of AMPEL's benchmark scripts.")
@click.option("--output", type=click.Path(path_type=Path), default=_RESULTS, help="Default: bench/results.jsonl")
def main(
    alerts: Path | None,
    number: int,
    times: int,
    reps: int,
    only: list[str],
    growth: list[int],
    stages: bool,
    peer: bool,
    peer_python: Path | None,
    peer_dir: Path | None,
    output: Path,
) -> None:
    if peer and (peer_python is None or peer_dir is None):
        raise click.UsageError("--peer needs --peer-python and --peer-dir (AMPEL_PEER_PYTHON, AMPEL_PEER_DIR)")
    chains = [chain for chain in CHAINS if any(step.case in only for step in chain)]
    console = Console(width=None if sys.stdout.isatty() else 200)
    with _session(output) as session:
        n_alerts = _prepare(session, alerts, number, times)
        session.put(_about(session, alerts, times, n_alerts))
        if peer and peer_python is not None and peer_dir is not None:
            # absolute, but not resolved: the interpreter of a virtual environment is a link
            python, scripts = peer_python.absolute(), peer_dir.absolute()
            session.peer = Peer(python, scripts, session.folder, session.uri, session.mongod_pid)
        with Progress(console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=reps * len(chains) + len(growth))
            for rep in range(reps):
                for chain in chains:
                    session.chain(chain, rep, only)
                    progress.advance(task)
            for rep in range(reps if stages else 0):
                session.stages(rep)
            if growth:
                sizes = ("growth", "--sizes", *map(str, growth))
                for found in session.ours(sizes, tar_path(session.folder, "single"), fresh=True):
                    session.put({"kind": "growth", "system": "ours", **found})
    console.print(f"{n_alerts} alerts; single figures: {output}")
    if chains:
        console.print(table(medians(session.records)))
    if growth:
        console.print(growth_table([r for r in session.records if r["kind"] == "growth"]))
    if stages:
        console.print(stages_table(session.records))
    for line in differing(session.records):
        console.print(f"[red]not the same documents after {line}[/red]")


@contextmanager
def _session(output: Path) -> Iterator[Session]:
    """A server in a temporary folder, which is gone afterwards."""
    output.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="ampel-bench-") as name:
        server = EmbeddedServer(Path(name))
        try:
            uri, pid = server.start(), server.status().pid
            assert pid is not None
            yield Session(Path(name), uri, pid, output)
        finally:
            server.stop()


def _prepare(session: Session, alerts: Path | None, number: int, times: int) -> int:
    """Write the packets; return their number. Not here: the peer's peak of memory would begin with that of our own."""
    real = ["--alerts", str(alerts)] if alerts else []
    options = [str(session.folder), "--number", str(number), "--times", str(times), *real]
    return int(_script("packets.py", options))


def _script(name: str, arguments: Sequence[str]) -> str:
    """Last line that one of the scripts beside this one prints."""
    command = [sys.executable, str(Path(__file__).with_name(name)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} {' '.join(arguments)}\n{done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1]


def _about(session: Session, alerts: Path | None, times: int, n_alerts: int) -> dict[str, Any]:
    """What was measured, and on what."""
    client: MongoClient[dict[str, Any]] = MongoClient(session.uri)
    version = client.server_info()["version"]
    client.close()
    return {
        "kind": "about",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "packets": alerts.name if alerts else "simulated",
        "times": times,
        "alerts": n_alerts,
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "python": platform.python_version(),
        "mongod": version,
        "peer_databases": PREFIX,
    }


if __name__ == "__main__":
    main()
