"""The commands of ``t3``."""

from pathlib import Path

import click

from ampel_dagster.commands import reacting
from ampel_dagster.commands.examples import examples
from ampel_dagster.storage.outbox import STATES


@click.group()
def t3() -> None:
    """T3: what was sent, and what is new."""


@t3.command("preview")
@click.argument("process")
@click.option("--channel", "channels", multiple=True, help="Only for this channel (repeatable); default: all.")
@click.option("--night", help="Night, or YYYY-MM-DD..YYYY-MM-DD; default: what is new to the process.")
@click.option("--all", "every", is_flag=True, help="Show the objects that are not selected, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout, for each object.")
@examples("ampel-dagster t3 preview report", "ampel-dagster t3 preview report --channel BRIGHT --night 2018-08-19")
def t3_preview(process: str, channels: tuple[str, ...], night: str | None, every: bool, as_json: bool) -> None:
    """Show what PROCESS would select, with each condition, and what it would send; nothing is sent or changed."""
    reacting.preview(process, channels, night, every=every, as_json=as_json)


@t3.command("run")
@click.argument("processes", nargs=-1, metavar="[PROCESS]...")
@click.option("--channel", "channels", multiple=True, help="Only for this channel (repeatable); default: all.")
@examples("ampel-dagster t3 run", "ampel-dagster t3 run report --channel BRIGHT")
def t3_run(processes: tuple[str, ...], channels: tuple[str, ...]) -> None:
    """Let each PROCESS (default: all) react to what is new to it: the job `react`, in this process."""
    reacting.run(processes, channels)


@t3.command("outbox")
@click.option("--process", help="Only of this process.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--since", help="Only from then on: a date (UTC), or how long ago, as in '2 hours'.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@examples("ampel-dagster t3 outbox --state unknown", "ampel-dagster t3 outbox --since '2 days' --json")
def t3_outbox(process: str | None, state: str | None, since: str | None, as_json: bool) -> None:
    """List what was sent, when and where."""
    reacting.outbox(process, state, since, as_json=as_json)


@t3.command("resend")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--process", help="Of this process.")
@click.option("--state", type=click.Choice(STATES), help="In this state.")
@click.option("--stock", help="About this object.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@examples("ampel-dagster t3 resend 3f2a", "ampel-dagster t3 resend --process alert_slack --state unknown")
def t3_resend(ids: tuple[str, ...], process: str | None, state: str | None, stock: str | None, yes: bool) -> None:
    """Send messages again, by the job `react`; of ID the first digits will do."""
    reacting.resend(ids, process, state, stock, yes=yes)


@t3.command("export")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--channel", required=True, help="Whose objects.")
@click.option("--nights", required=True, help="First and last night, YYYY-MM-DD..YYYY-MM-DD, or one night.")
@click.option("--process", help="Only the objects that this process selects.")
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
@examples("ampel-dagster t3 export objects.parquet --channel BRIGHT --nights 2018-08-01..2018-08-31")
def t3_export(file: Path, channel: str, nights: str, process: str | None, survey: str | None) -> None:
    """Write a channel's objects to FILE (.parquet or .csv): a row each, as of its last night among these."""
    reacting.export(file, channel, nights, process, survey)
