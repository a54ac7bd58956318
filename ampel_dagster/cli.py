"""The command line. Each command is a few lines over the functions of the house.

Errors of users (a wrong name, file, address) are one line on stderr and exit code 2; nothing was changed then.
"""

import sys
from collections.abc import Callable
from functools import wraps
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from ampel_dagster.commands import checking, ingesting, looking, serving, streaming, tickets
from ampel_dagster.model.errors import AmpelError, ConfigError, UserError

P = ParamSpec("P")
R = TypeVar("R")


class _Group(click.Group):
    """A group whose commands end with one line: exit code 2 for what the user can mend, 1 for what failed."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(f"error: {problem}", err=True)
            raise SystemExit(2) from None
        except UserError as error:
            click.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise SystemExit(2) from None
        except AmpelError as error:
            click.echo(f"failed: {' '.join(str(error).split())}", err=True)
            raise SystemExit(1) from None


def _examples(*lines: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add examples to a command's help."""

    def add(command: Callable[P, R]) -> Callable[P, R]:
        text = "\n\n\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)

        @wraps(command)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return command(*args, **kwargs)

        call.__doc__ = (command.__doc__ or "") + text
        return call

    return add


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="ampel-dagster")
def main() -> None:
    """AMPEL on Dagster: filter, combine, analyse and react to streams of astronomical alerts.

    The instance is the folder in AMPEL_INSTANCE, else ./.ampel (made from a demo on first use); its database is at
    AMPEL_MONGO_URI, else an embedded MongoDB of its own; AMPEL_DB names the database.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows a question mark


@main.command()
@click.option("--alerts", type=click.Path(path_type=Path), help="Real packets (file or folder), not simulated ones.")
@click.option("--night", default="2026-11-01", show_default=True, help="Night to simulate, YYYY-MM-DD.")
@click.option("--number", default=200, show_default=True, help="Alerts to simulate, about.")
@click.option("--keep-server", is_flag=True, help="Leave the embedded database running.")
@_examples("ampel-dagster demo", "ampel-dagster demo --alerts ztf_public_20180819.tar.gz")
def demo(alerts: Path | None, night: str, number: int, keep_server: bool) -> None:
    """Run T0 to T3 over a night, and say where the report lies."""
    ingesting.demo(alerts, night, number, keep_server=keep_server)


@main.command()
@_examples("ampel-dagster check", "AMPEL_INSTANCE=~/survey ampel-dagster check")
def check() -> None:
    """Read the configuration, build every unit, and list everything that is wrong."""
    checking.check()


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_examples("ampel-dagster init ~/survey && export AMPEL_INSTANCE=~/survey")
def init(folder: Path) -> None:
    """Write a new instance, with commented examples of everything, into FOLDER."""
    checking.init(folder)


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--channel", "channels", multiple=True, help="Only for this channel (repeatable); default: all.")
@click.option("--survey", default="ztf", show_default=True, help="Survey that the packets are of.")
@_examples("ampel-dagster ingest ztf_public_20180819.tar.gz", "ampel-dagster ingest night1/ night2/ --channel BRIGHT")
def ingest(paths: tuple[Path, ...], channels: tuple[str, ...], survey: str) -> None:
    """Bring packets (files or folders) through T0, T1 and T2: the job `ingest`, in this process."""
    ingesting.ingest(paths, channels, survey)


@main.command()
@click.option("--survey", default="ztf", show_default=True, help="Survey, as in streams/.")
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Stop after so many seconds; default: never.")
@click.option("--once", is_flag=True, help="Stop when nothing waits.")
@click.option("--report-every", default=60.0, show_default=True, help="Seconds between two reports.")
@_examples("ampel-dagster listen", "ampel-dagster listen --survey ztf --for 36000")
def listen(survey: str, seconds: float | None, once: bool, report_every: float) -> None:
    """Bring packets to their T2 results as they come over Kafka, within seconds: the job `listen`, in this process.

    Ctrl-C or SIGTERM stops it when the packets that are under way are done; the next one goes on from there.
    """
    streaming.listen(survey, seconds, report_every, once=once)


@main.command()
@click.option("--survey", default="ztf", show_default=True, help="Survey, as in streams/.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@_examples("ampel-dagster offsets", "ampel-dagster offsets --json")
def offsets(survey: str, as_json: bool) -> None:
    """Say how far each partition of a Kafka stream is read, what waits, and what is lost."""
    streaming.offsets(survey, as_json=as_json)


@main.command()
@click.option("--channel", "channels", multiple=True, help="Channel (repeatable); default: all.")
@click.option("--nights", required=True, help="First and last night, YYYY-MM-DD..YYYY-MM-DD, or one night.")
@click.option("--product", "products", multiple=True, help="Only this T2 product (repeatable).")
@click.option("--survey", default="ztf", show_default=True, help="Survey, as in streams/.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_examples(
    "ampel-dagster backfill --channel BRIGHT --nights 2018-08-01..2018-08-31",
    "ampel-dagster backfill --nights 2018-08-19 --product light_curve_summary --yes",
)
def backfill(channels: tuple[str, ...], nights: str, products: tuple[str, ...], survey: str, yes: bool) -> None:
    """Reprocess archived nights for channels: shows the cost, asks, then runs night after night."""
    ingesting.backfill(channels, nights, products, survey, yes=yes)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@_examples("ampel-dagster counts", "ampel-dagster counts --json")
def counts(as_json: bool) -> None:
    """Count what is stored."""
    looking.counts(as_json=as_json)


@main.command()
@click.argument("stock")
@_examples("ampel-dagster provenance ZTF18abcecyc")
def provenance(stock: str) -> None:
    """Tell the story of an object: alerts, states, results with unit, version, configuration and run, reactions."""
    looking.provenance(stock)


@main.command()
@click.argument("nights", nargs=-1)
@click.option("--survey", default="ztf", show_default=True, help="Survey, as in streams/.")
@_examples("ampel-dagster ledger 2018-08-19")
def ledger(nights: tuple[str, ...], survey: str) -> None:
    """Account for the packets of NIGHTS (default: all), by source: read = new + known + rejected + quarantined."""
    looking.ledger(nights, survey)


@main.group()
def mongo() -> None:
    """The embedded database of the instance."""


@mongo.command("start")
def mongo_start() -> None:
    """Start it, if it does not run; it goes on when this command ends."""
    serving.start()


@mongo.command("stop")
def mongo_stop() -> None:
    """Stop it."""
    serving.stop()


@mongo.command("status")
def mongo_status() -> None:
    """Say whether and where it runs."""
    serving.status()


@main.group()
def t2() -> None:
    """T2 documents: tickets and results."""


@t2.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def t2_status(as_json: bool) -> None:
    """Number of documents by product and code."""
    tickets.status(as_json=as_json)


@t2.command("reset")
@click.option("--product", help="Documents of this product.")
@click.option("--code", type=int, help="Documents with this code, as in -4 for exceptions.")
@click.option("--stock", help="Documents of this object.")
@click.option("--night", help="Documents of this night, YYYY-MM-DD.")
@click.option("--survey", default="ztf", show_default=True, help="Survey, as in streams/.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_examples("ampel-dagster t2 reset --product light_curve_summary --code -4")
def t2_reset(
    product: str | None, code: int | None, stock: str | None, night: str | None, survey: str, yes: bool
) -> None:
    """Make T2 documents tickets again. Results that are there stay readable until the new ones come."""
    tickets.reset(product, code, stock, night, survey, yes=yes)


@main.group()
def t3() -> None:
    """T3: what was sent, and what is new."""


@t3.command("outbox")
@click.option("--process", help="Only of this process.")
@click.option("--state", type=click.Choice(["reserved", "confirmed", "unknown"]), help="Only in this state.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def t3_outbox(process: str | None, state: str | None, as_json: bool) -> None:
    """List what was sent, when and where."""
    looking.outbox(process, state, as_json=as_json)


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The UI has no login: keep it on loopback.")
@_examples("ampel-dagster dev", "ampel-dagster dev --port 3001")
def dev(port: int, host: str) -> None:
    """Serve the Dagster UI with its daemon, sensors and schedules on."""
    serving.dev(host, port)
