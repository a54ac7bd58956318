"""A simulated week on a platform of its own: packets, tiers, receiver of messages, deletion, backfill."""

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pandas as pd

from ampel_dagster.config.instance import Instance, packaged_demo
from ampel_dagster.config.load import load
from ampel_dagster.testing import Survey, host_catalog, star_catalog, write_archive

HERE = Path(__file__).resolve().parent
#: Channels, and the process in which each tells what it has found.
REPORT_OF = {"young_sn": "young_daily", "all_transients": "daily", "variables": "daily"}
_ADDRESS = "http://127.0.0.1:8765"


@dataclass(frozen=True)
class Plan:
    """What is simulated; the same plan always gives the same packets."""

    seed: int
    n_objects: int
    nights: tuple[str, ...]

    @property
    def survey(self) -> Survey:
        """The sky, and the telescope."""
        return Survey(self.seed, self.n_objects)


@dataclass
class Receiver:
    """A web server that notes who told it what, and when."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    address: str = ""

    @contextmanager
    def listening(self) -> Iterator["Receiver"]:
        """Listen on loopback, on whatever port is free."""
        messages = self.messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                messages.append({**body, "arrived": time.time(), "key": self.headers["Idempotency-Key"]})
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.address = f"http://127.0.0.1:{server.server_port}"
            Thread(target=server.serve_forever, daemon=True).start()
            yield self
            server.shutdown()

    def told(self) -> pd.DataFrame:
        """Messages so far."""
        columns = ["process", "channel", "night", "name", "stock", "link", "arrived", "key"]
        return pd.DataFrame(self.messages, columns=columns)


def write_instance(folder: Path, plan: Plan, receiver: Receiver) -> Path:
    """The example's instance, with catalogues of the simulated sky and the receiver's address."""
    shutil.copytree(HERE / "instance", folder, dirs_exist_ok=True)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(packaged_demo() / name, folder / name)
    for file in (folder / "t3").glob("*.yaml"):
        file.write_text(file.read_text().replace(_ADDRESS, receiver.address))
    (folder / "catalogs").mkdir(exist_ok=True)
    host_catalog(plan.seed, plan.n_objects).to_csv(folder / "catalogs" / "galaxies.csv", index=False)
    star_catalog(plan.seed, plan.n_objects).to_csv(folder / "catalogs" / "stars.csv", index=False)
    return folder


class Platform:
    """An instance, and Dagster's record of its runs. Where its database is, the environment says."""

    def __init__(self, folder: Path, history: dg.DagsterInstance) -> None:
        from ampel_dagster.definitions import build  # here: it looks for the instance when it is loaded

        self.instance = Instance(folder)
        self.config = load(folder)
        self.history = history
        self._defs = build(self.config)

    def land(self, plan: Plan, night: str) -> Path:
        """The survey publishes a night."""
        archive = self.config.stream("ztf").archive
        assert archive is not None
        path = self.instance.path(archive.folder) / archive.file_name(night)
        write_archive(path, plan.survey.night(night))
        return path

    def live_night(self, path: Path) -> None:
        """What sensors and schedules start when a night has come: `ingest` for the packets, `react` in the morning."""
        packets = {"survey": "ztf", "paths": [str(path)]}
        self._run("ingest", {"ops": {"ingest_packets": {"config": packets}}})
        self.react()

    def react(self) -> None:
        """All processes react to what is new to them."""
        self._run("react")

    def partitions(self, nights: Sequence[str]) -> list[str]:
        """Keys of all channels times these nights."""
        return [f"{channel}|{night}" for channel in sorted(self.config.channels) for night in nights]

    def backfill(self, nights: Sequence[str]) -> None:
        """All tiers of all channels for these nights, which must be consecutive, in one run in this process."""
        channels = sorted(self.config.channels)
        first, last = f"{channels[0]}|{nights[0]}", f"{channels[-1]}|{nights[-1]}"
        span = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        self._run(None, tags=span)

    def reactions(self) -> pd.DataFrame:
        """What each channel has told: a row for each channel, night and object, read from its daily tables."""
        found = []
        for channel, process in REPORT_OF.items():
            for file in sorted((self.instance.reports / process / channel).glob("*/table.csv")):
                table = pd.read_csv(file)
                found.append(table.assign(channel=channel, night=file.parent.name))
        return pd.concat(found, ignore_index=True)[["channel", "night", "name", "jd"]].astype({"name": str})

    def forget_reports(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.instance.reports)

    def _run(
        self, job: str | None, config: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None
    ) -> None:
        """A job, or without a name all assets, to its end. Raises what the first failing step raised."""
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        found = self._defs.resolve_job_def(job) if job else self._defs.resolve_implicit_global_asset_job_def()
        found.execute_in_process(run_config={**quiet, **(config or {})}, tags=dict(tags or {}), instance=self.history)
