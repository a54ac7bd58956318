"""``listen`` and ``offsets``: streams that come over Kafka."""

import json
from datetime import UTC, datetime

import click
from rich.markup import escape
from rich.table import Table

from ampel_dagster.commands.runs import run_job
from ampel_dagster.commands.session import Session, console, enter, out, session, survey_of
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.stream import Kafka
from ampel_dagster.pipeline.ranges import lag
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.sources.kafka import KafkaSource


def listen(survey: str, seconds: float | None, interval_s: float, *, once: bool) -> None:
    """Run the job `listen` in this process, until it is stopped or the time is over."""
    with session() as current:
        _kafka(current, survey)
        if not current.config.rules(survey):
            raise UserError(f"no channel asks for {survey}; add a block '{survey}:' to a file in channels/")
    enter(current.instance)
    from assets.ops import PROGRESS

    total = Tally()

    def reported(done: Tally) -> None:
        total.add(done)
        if done.counts["computed"] or done.counts["failed"]:
            console.print(f"{datetime.now(UTC):%H:%M:%S} UTC  {_words(total)}", soft_wrap=True)

    PROGRESS["listen"] = reported
    config = {"survey": survey, "seconds": seconds, "once": once, "interval_s": interval_s}
    console.print(f"listens to {survey}; Ctrl-C ends it after the packets that are under way", soft_wrap=True)
    try:
        run_job(current.instance, "listen", config={"ops": {"listen_to_packets": {"config": config}}})
    finally:
        PROGRESS.clear()
    out.print(_words(total))


def _words(total: Tally) -> str:
    counts = total.counts
    packets = f"{counts['read']} packets, {counts['new']} new, {counts['quarantined']} bad"
    return f"{packets}; {counts['computed']} results, {counts['failed']} failed"


def _kafka(current: Session, survey: str) -> Kafka:
    stream = current.config.stream(survey_of(current.config, survey))
    if stream.kafka is None:
        raise UserError(f"the stream of {survey} does not come over Kafka; add kafka: to its file in streams/")
    return stream.kafka


def offsets(survey: str, *, as_json: bool) -> None:
    """How far a stream is read, what waits, and what is lost."""
    with session() as current:
        kafka = _kafka(current, survey)
        plan = current.store.offsets
        with KafkaSource(kafka, current.instance.folder) as source:
            found = lag(plan, survey, source)
        waiting = [str(link.part) for links in plan.waiting(survey).values() for link in links]
        lost = plan.lost(survey)
        if as_json:
            partitions = {
                str(p): {"done": found.positions.get(p, 0), "waiting": found.waiting.get(p, 0)}
                for p in sorted({*found.positions, *found.waiting})
            }
            oldest = found.oldest.isoformat() if found.oldest else None
            told = {"partitions": partitions, "oldest_waiting": oldest, "planned": waiting, "lost": lost}
            click.echo(json.dumps(told, default=str))
            return
        table = Table("partition", "done up to offset", "waiting", title=f"{survey}: packets that come over Kafka")
        for p in sorted({*found.positions, *found.waiting}):
            table.add_row(escape(str(p)), str(found.positions.get(p, 0)), str(found.waiting.get(p, 0)))
        out.print(table)
        if found.oldest:
            out.print(f"{found.packets} packets wait, the oldest since {found.oldest:%Y-%m-%d %H:%M:%S} UTC")
        if waiting:
            out.print(f"planned or under way: {escape(', '.join(waiting[:20]))}", soft_wrap=True)
        for row in lost[:20]:
            where = f"{escape(row['topic'])}/{row['partition']} {row['reason']}: {row['first']} to {row['end']}"
            out.print(f"{where} ({row['ts']:%Y-%m-%d %H:%M:%S} UTC)", soft_wrap=True)
