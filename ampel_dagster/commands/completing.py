"""``complete``: the history of objects that channels took late."""

from datetime import timedelta

import click

from ampel_dagster.commands.examples import examples
from ampel_dagster.commands.ingesting import parse_nights, run_ingest
from ampel_dagster.commands.looking import ledger_table
from ampel_dagster.commands.session import known, out, session, survey_of
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.night import nights_between
from ampel_dagster.model.run import utc_now
from ampel_dagster.pipeline.history import history_nights, late_objects


@click.command()
@click.option("--channel", "channels", multiple=True, help="Channel (repeatable); default: all with history_days.")
@click.option("--nights", help="First and last night in which the objects were taken; default: yesterday and today.")
@click.option("--survey", help="Survey, as in streams/; default: the only one there.")
@examples("ampel-dagster complete", "ampel-dagster complete --channel NUCLEAR --nights 2018-08-19")
def complete(channels: tuple[str, ...], nights: str | None, survey: str | None) -> None:
    """Bring the earlier alerts of objects that channels took, from the archive: as far back as their history_days."""
    today = utc_now().date()
    first, last = parse_nights(nights or f"{today - timedelta(days=1)}..{today}")
    with session() as current:
        known("channel", channels, list(current.config.channels))
        survey = survey_of(current.config, survey)
        rules = [one for one in current.config.rules(survey, channels) if one.history_days]
        if not rules:
            who = ", ".join(channels) or "each channel"
            raise UserError(f"{who} has no history_days; add history_days: 30 to the block {survey}: of its file")
        taken = nights_between(first, last)
        late = late_objects(current.store.survey(survey), rules, taken)
        names = [one.channel for one in rules]
    if not late:
        out.print(f"Nothing to complete: {', '.join(names)} took no object of {survey} from {first} to {last}.")
        return
    read = history_nights(rules, taken)
    title = f"{sum(map(len, late.values()))} objects, {len(read)} nights"
    config = {"survey": survey, "channels": names, "complete": taken}
    tally = run_ingest(current.instance, config, title, archive=True)
    out.print(ledger_table({source: dict(counts) for source, counts in sorted(tally.sources.items())}))
