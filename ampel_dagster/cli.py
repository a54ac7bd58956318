"""The command line. Each command is a few lines over the functions of the house.

Errors of users (a wrong name, file, address) are one line on stderr and exit code 2; nothing was changed then.
"""

import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from ampel_dagster.commands import checking, filters, ingesting, looking, serving, streaming, tickets
from ampel_dagster.commands import quarantine as bad
from ampel_dagster.commands.catalogs import catalog
from ampel_dagster.commands.completing import complete
from ampel_dagster.commands.examples import examples as _examples
from ampel_dagster.commands.t3 import t3
from ampel_dagster.commands.unit import unit
from ampel_dagster.commands.viewing import view
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
@click.option("--survey", help="Survey of these packets; default: the only one in streams/.")
@click.option("--night", default="2026-11-01", show_default=True, help="Night to simulate, YYYY-MM-DD.")
@click.option("--number", default=200, show_default=True, help="Alerts to simulate, about.")
@click.option("--keep-server", is_flag=True, help="Leave the embedded database running.")
@_examples("ampel-dagster demo", "ampel-dagster demo --alerts ztf_public_20180819.tar.gz")
def demo(alerts: Path | None, survey: str | None, night: str, number: int, keep_server: bool) -> None:
    """Run T0 to T3 over a night, and say where the report lies."""
    ingesting.demo(alerts, survey, night, number, keep_server=keep_server)


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
@click.option("--survey", help="Survey that the packets are of; default: the only one in streams/.")
@_examples("ampel-dagster ingest ztf_public_20180819.tar.gz", "ampel-dagster ingest night1/ night2/ --channel BRIGHT")
def ingest(paths: tuple[Path, ...], channels: tuple[str, ...], survey: str | None) -> None:
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
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_examples(
    "ampel-dagster backfill --channel BRIGHT --nights 2018-08-01..2018-08-31",
    "ampel-dagster backfill --nights 2018-08-19 --product light_curve_summary --yes",
)
def backfill(channels: tuple[str, ...], nights: str, products: tuple[str, ...], survey: str | None, yes: bool) -> None:
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
@click.argument("stock")
@click.option("--channel", help="Only what this channel may see.")
@click.option("--link", type=int, help="Show the datapoints of this state.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout.")
@_examples("ampel-dagster states ZTF18abcecyc", "ampel-dagster states ZTF18abcecyc --link 4861513473926214529")
def states(stock: str, channel: str | None, link: int | None, as_json: bool) -> None:
    """List the states of an object over time: what each holds, what was left out and why, and its values."""
    looking.states(stock, channel, link, as_json=as_json)


@main.command()
@click.argument("nights", nargs=-1)
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
@click.option("--all", "all_sources", is_flag=True, help="Name each source, however many there are.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, with all sources.")
@_examples("ampel-dagster ledger 2018-08-19")
def ledger(nights: tuple[str, ...], survey: str | None, all_sources: bool, as_json: bool) -> None:
    """Account for the packets of NIGHTS (default: all), by source: read = new + known + rejected + quarantined."""
    looking.ledger(nights, survey, all_sources=all_sources, as_json=as_json)


@main.command()
@click.argument("alert", type=int)
@click.option("--channel", required=True, help="Channel whose filter is shown.")
@click.option("--from", "path", type=click.Path(path_type=Path), help="Packet file or folder that holds the alert.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@_examples(
    "ampel-dagster explain 595147624915010012 --channel BRIGHT",
    "ampel-dagster explain 595147624915010012 --channel BRIGHT --from ztf_public_20180819.tar.gz",
)
def explain(alert: int, channel: str, path: Path | None, as_json: bool) -> None:
    """Show a channel's filter stage by stage for one ALERT, and the verdict that is stored."""
    filters.explain(alert, channel, path, as_json=as_json)


@main.group("filter")
def filter_() -> None:
    """Filters over archived nights. Nothing is written."""


@filter_.command("rate")
@click.argument("channels", nargs=-1, metavar="[CHANNEL]...")
@click.option("--nights", required=True, help="First and last night, YYYY-MM-DD..YYYY-MM-DD, or one night.")
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list on stdout.")
@_examples("ampel-dagster filter rate BRIGHT draft.yaml --nights 2018-08-19")
def filter_rate(channels: tuple[str, ...], nights: str, survey: str | None, as_json: bool) -> None:
    """Say which share of the alerts each CHANNEL (a name, or a YAML file; default: all) accepts."""
    filters.rate(channels, nights, survey, as_json=as_json)


@filter_.command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--nights", required=True, help="First and last night, YYYY-MM-DD..YYYY-MM-DD, or one night.")
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
@click.option("--most", default=100, show_default=True, help="Differing alerts that are listed.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@_examples("ampel-dagster filter diff BRIGHT draft.yaml --nights 2018-08-01..2018-08-31")
def filter_diff(a: str, b: str, nights: str, survey: str | None, most: int, as_json: bool) -> None:
    """Compare what two channels accept; A and B are names, or YAML files of channels."""
    filters.diff(a, b, nights, survey, most, as_json=as_json)


@main.group()
def channel() -> None:
    """Channels that have a gate, and whether they are live."""


@channel.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def channel_status(as_json: bool) -> None:
    """List the channels: filter, gate, live or not."""
    filters.channels(as_json=as_json)


@channel.command("activate")
@click.argument("name")
@click.option("--night", help="Reference night; default: that of the gate.")
@click.option("--max-share", type=click.FloatRange(0, 1), help="Largest share that passes; default: that of the gate.")
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
@click.option("--force", is_flag=True, help="Activate whatever the figure.")
@_examples("ampel-dagster channel activate BRIGHT", "ampel-dagster channel activate BRIGHT --max-share 0.1")
def channel_activate(name: str, night: str | None, max_share: float | None, survey: str | None, force: bool) -> None:
    """Run a channel's filter over its reference night; make it live if it does not accept too much."""
    filters.activate(name, night, max_share, survey, force=force)


@channel.command("deactivate")
@click.argument("name")
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
def channel_deactivate(name: str, survey: str | None) -> None:
    """Take a channel off live runs, until it is activated again."""
    filters.deactivate(name, survey)


@main.group()
def quarantine() -> None:
    """Packets that could not be read, with their bytes."""


def _which(command: Callable[P, R]) -> Callable[P, R]:
    """Options that say which records a command is about."""
    for option in (
        click.option("--survey", help="Only of this survey."),
        click.option("--source", help="Only of this source, as the ledger calls it."),
        click.option("--reason", help="Only for this reason, as in NIGHT_OUT_OF_RANGE."),
    ):
        command = option(command)
    return command


@quarantine.command("list")
@_which
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@_examples("ampel-dagster quarantine list", "ampel-dagster quarantine list --reason TRUNCATED --json")
def quarantine_list(reason: str | None, source: str | None, survey: str | None, as_json: bool) -> None:
    """List the records: id, reason, where it was read, error."""
    bad.list_records(bad.Which((), reason, source, survey), as_json=as_json)


@quarantine.command("show")
@click.argument("id_", metavar="ID")
@click.option("--save", type=click.Path(path_type=Path), help="Write the bytes to this new file.")
@_examples("ampel-dagster quarantine show 3f2a --save broken.avro")
def quarantine_show(id_: str, save: Path | None) -> None:
    """Show one record; of ID the first digits will do."""
    bad.show(id_, save)


@quarantine.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_which
@click.option("--all", "all_", is_flag=True, help="All of them.")
@_examples("ampel-dagster quarantine replay 3f2a", "ampel-dagster quarantine replay --reason NIGHT_OUT_OF_RANGE")
def quarantine_replay(
    ids: tuple[str, ...], reason: str | None, source: str | None, survey: str | None, all_: bool
) -> None:
    """Read records once more, by the job `ingest`: what can be read now is stored, and leaves."""
    bad.replay(bad.Which(ids, reason, source, survey, all_))


@quarantine.command("drop")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_which
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_examples("ampel-dagster quarantine drop 3f2a", "ampel-dagster quarantine drop --reason NOT_AVRO --yes")
def quarantine_drop(
    ids: tuple[str, ...], reason: str | None, source: str | None, survey: str | None, all_: bool, yes: bool
) -> None:
    """Forget records and their bytes. The ledger goes on counting them."""
    bad.drop(bad.Which(ids, reason, source, survey, all_), yes=yes)


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
    """Number of documents by product and code, the oldest of each, and how many came in the last hour."""
    tickets.status(as_json=as_json)


_OF_T2 = (
    click.option("--product", help="Documents of this product."),
    click.option("--code", type=int, help="Documents with this code, as in -4 for exceptions."),
    click.option("--stock", help="Documents of this object."),
    click.option("--night", help="Documents of this night, YYYY-MM-DD."),
    click.option("--survey", help="Survey, as in streams/; default: the only one there."),
)


def _t2_options(command: Callable[P, R]) -> Callable[P, R]:
    for option in reversed(_OF_T2):
        command = option(command)
    return command


@t2.command("show")
@_t2_options
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@_examples(
    "ampel-dagster t2 show --product light_curve_summary --code -4", "ampel-dagster t2 show --stock ZTF26apjdgkx"
)
def t2_show(
    product: str | None,
    code: int | None,
    stock: str | None,
    night: str | None,
    survey: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show T2 documents, with what went wrong and what they wait for."""
    tickets.show(tickets.Which(product, code, stock, night, survey), limit, as_json=as_json)


@t2.command("reset")
@_t2_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@_examples("ampel-dagster t2 reset --product light_curve_summary --code -4")
def t2_reset(
    product: str | None, code: int | None, stock: str | None, night: str | None, survey: str | None, yes: bool
) -> None:
    """Make T2 documents tickets again. Results that are there stay readable until the new ones come."""
    tickets.reset(tickets.Which(product, code, stock, night, survey), yes=yes)


main.add_command(catalog)
main.add_command(complete)
main.add_command(t3)
main.add_command(unit)
main.add_command(view)


@main.command()
@click.option("--port", default=3000, show_default=True, help="Port of the UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The UI has no login: keep it on loopback.")
@_examples("ampel-dagster dev", "ampel-dagster dev --port 3001")
def dev(port: int, host: str) -> None:
    """Serve the Dagster UI with its daemon, sensors and schedules on."""
    serving.dev(host, port)
