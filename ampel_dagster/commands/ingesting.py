"""``ingest``, ``backfill`` and ``demo``."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from time import perf_counter, time
from typing import Any

import click
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ampel_dagster.commands.looking import ledger_table, summary_table
from ampel_dagster.commands.runs import run_job
from ampel_dagster.commands.session import Session, console, enter, known, out, session, survey_of
from ampel_dagster.config.instance import Instance, locate
from ampel_dagster.config.load import Config, load
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import utc_now
from ampel_dagster.pipeline.gate import split_live
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.sources.files import list_files
from ampel_dagster.storage import figures
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.units.bound import in_order

#: Typical size of a packet with stamps in a gzipped archive, for previews.
_PACKET_BYTES = 50_000
#: Partitions that one run of a backfill takes.
_PARTITIONS_PER_RUN = 400
#: Times of files may lie so far (seconds) behind the clock.
_CLOCK_S = 1.0


def ingest(paths: Sequence[Path], channels: Sequence[str], survey: str | None) -> None:
    """Run the job `ingest` over files and folders."""
    files = list_files([path.expanduser() for path in paths])
    with session() as current:
        known("channel", channels, list(current.config.channels))
        survey = survey_of(current.config, survey)
        rules = current.config.rules(survey, tuple(channels))
        if not rules:
            raise UserError(f"no channel asks for {survey}; add a block '{survey}:' to a file in channels/")
        live, held = split_live(current.store, rules, "live")
    if held and (channels or not live):
        raise UserError(f"{held[0]} is not live; ampel-dagster channel activate {held[0]}, or backfill its nights")
    if held:
        console.print(f"[yellow]not activated, so left out: {', '.join(held)}[/yellow]")
    tally = _ingest(current.instance, [path.expanduser().resolve() for path in paths], channels, survey, len(files))
    _say_disabled(tally)
    out.print(ledger_table({source: dict(counts) for source, counts in sorted(tally.sources.items())}))
    for (who, message), number in tally.failures.most_common(5):
        console.print(f"[yellow]{escape(who)}: {escape(message)} ({number} times)[/yellow]", soft_wrap=True)


def _ingest(instance: Instance, paths: Sequence[Path], channels: Sequence[str], survey: str, n_files: int) -> Tally:
    """The job `ingest` over files; returns the ledger of the run."""
    config = {"survey": survey, "paths": [str(path) for path in paths], "channels": list(channels)}
    return run_ingest(instance, config, f"{n_files} files")


def _say_disabled(tally: Tally) -> None:
    for channel, what in sorted(tally.disabled.items()):
        text = f"the filter of {channel} failed too often and was left out ({what}); mend it, and ingest the same again"
        console.print(f"[red]{escape(text)}[/red]", soft_wrap=True)


def run_ingest(instance: Instance, config: Mapping[str, Any], title: str, *, archive: bool = False) -> Tally:
    """The job `ingest` with a progress bar; returns the ledger of the run. Of an archive nothing is told outside."""
    total = Tally()
    enter(instance)
    from assets.ops import PROGRESS

    with progress_bar(title) as bar:

        def stored(done: Tally) -> None:
            total.add(done)
            counts = total.counts
            bar(f"{counts['read']} packets, {counts['new']} new, {counts['quarantined']} bad")

        def computed(done: Tally) -> None:
            total.add(done)
            bar(f"{total.counts['computed']} results, {total.counts['failed']} failed")

        PROGRESS.update(ingest=stored, augment=computed)
        try:
            tags = {"ampel/mode": "archive"} if archive else {}
            run_job(instance, "ingest", config={"ops": {"ingest_packets": {"config": dict(config)}}}, tags=tags)
        finally:
            PROGRESS.clear()
    return total


@contextmanager
def progress_bar(title: str) -> Iterator[Any]:
    """A bar on the terminal; what it gives is called with a text of how far things are."""
    columns = (TextColumn("{task.description}"), BarColumn(pulse_style="blue"), TimeElapsedColumn())
    # In a file or a pipe it would leave empty lines.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=None)
        yield lambda text: progress.update(task, description=f"{title}: {text}")


def backfill(channels: Sequence[str], nights: str, products: Sequence[str], survey: str | None, *, yes: bool) -> None:
    """Reprocess archived nights, one run a group of nights that have a file."""
    first, last = parse_nights(nights)
    instance = locate()
    config = load(instance.folder)
    survey = survey_of(config, survey)
    known("channel", channels, list(config.channels))
    known("product", products, list(config.products))
    rules = config.rules(survey, tuple(channels))
    chosen = [found.channel for found in rules]
    if not chosen:
        raise UserError(f"none of these channels asks for {survey}")
    asked = {p.name for found in rules for request in found.requests for p in in_order(request.product)}
    for product in products:
        if product not in asked:
            raise UserError(f"none of these channels asks for the product {product}: {', '.join(chosen)}")
    _check_nights(config, survey, first, last)
    files = _stored_nights(survey, chosen, first, last) if products else _archived(config, survey, first, last)
    out.print(_cost_table(files, chosen, products, first, last))
    if not files:
        lack = "alerts of these channels" if products else "an archive file; see archive: in streams/"
        raise UserError(f"no night from {first} to {last} has {lack}")
    if not yes and not click.confirm("Go ahead?"):
        return
    assets = _assets_for(config, survey, products) if products else None
    groups = list(_groups(list(files), len(chosen)))
    for block in channel_blocks(chosen, sorted(config.channels)):
        for number, group in enumerate(groups, 1):
            start = perf_counter()
            run = run_job(
                instance, "reprocess", tags=range_tags(block[0], block[-1], group[0], group[-1]), assets=assets
            )
            seconds = perf_counter() - start
            span = group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
            console.print(f"{number}/{len(groups)} {', '.join(block)}, {span}: done in {seconds:.1f} s (run {run[:8]})")
    with session() as current:
        out.print(summary_table(current, survey))


def parse_nights(text: str, option: str = "--nights") -> tuple[str, str]:
    """'2018-08-01..2018-08-31' or one night -> first and last. Raises UserError."""
    first, _, last = text.partition("..")
    try:
        pair = date.fromisoformat(first).isoformat(), date.fromisoformat(last or first).isoformat()
    except ValueError:
        raise UserError(f"{option} {text}: write YYYY-MM-DD..YYYY-MM-DD, or one night") from None
    if pair[0] > pair[1]:
        raise UserError(f"{option} {text}: the last night is before the first")
    return pair


def _check_nights(config: Config, survey: str, first: str, last: str) -> None:
    """Raise UserError for nights that cannot be: before the stream began, or still to come."""
    start, tonight = config.stream(survey).start_date.isoformat(), utc_now().date().isoformat()
    if first < start:
        raise UserError(f"nights of {survey} begin with {start} (streams/{survey}.yaml)")
    if last > tonight:
        raise UserError(f"the night {last} is still to come; today is {tonight} (UT)")


def range_tags(first_channel: str, last_channel: str, first_night: str, last_night: str) -> dict[str, str]:
    """Run tags that mean all channels from the first to the last, times all nights."""
    return {
        "dagster/asset_partition_range_start": f"{first_channel}|{first_night}",
        "dagster/asset_partition_range_end": f"{last_channel}|{last_night}",
        "ampel/mode": "archive",
    }


def channel_blocks(chosen: Sequence[str], ordered: Sequence[str]) -> list[list[str]]:
    """Channels in runs that are contiguous in the order of all channels: a range of partitions cannot leave one out."""
    places = sorted(ordered.index(name) for name in chosen)
    blocks = groupby(enumerate(places), key=lambda pair: pair[1] - pair[0])
    return [[ordered[place] for _, place in block] for _, block in blocks]


def _stored_nights(survey: str, channels: Sequence[str], first: str, last: str) -> dict[str, int]:
    """Nights with accepted alerts, and how many: a product is computed on what is stored, no packet is read."""
    with session() as current:
        return figures.alerts_by_night(current.store.survey(survey), channels, first, last)


def _archived(config: Config, survey: str, first: str, last: str) -> dict[str, int]:
    """Bytes of the nights that have an archive file."""
    from assets.archive import archive_file

    found, night, end = {}, date.fromisoformat(first), date.fromisoformat(last)
    while night <= end:
        path = archive_file(config, survey, night.isoformat())
        if path is not None:
            found[night.isoformat()] = path.stat().st_size
        night += timedelta(days=1)
    return found


def _groups(nights: Sequence[str], n_channels: int) -> Iterator[list[str]]:
    """Consecutive nights with a file, cut where a run would hold too many partitions."""
    most = max(1, _PARTITIONS_PER_RUN // n_channels)
    numbered = enumerate(date.fromisoformat(night).toordinal() for night in nights)
    for _, block in groupby(numbered, key=lambda pair: pair[1] - pair[0]):
        days = [date.fromordinal(day).isoformat() for _, day in block]
        for begin in range(0, len(days), most):
            yield days[begin : begin + most]


def _assets_for(config: Config, survey: str, products: Sequence[str]) -> list[list[str]]:
    """Assets of some products: the tickets, what they require, and themselves."""
    wanted = {p.name for name in products for p in in_order(config.products[name])}
    return [[survey, "t1"], *([survey, "t2", name] for name in sorted(wanted))]


def _cost_table(
    files: dict[str, int], channels: Sequence[str], products: Sequence[str], first: str, last: str
) -> Table:
    table = Table("what", "how much", title="This backfill")
    total = sum(files.values())
    table.add_row("nights asked for", f"{first} to {last}")
    if products:
        table.add_row("nights with alerts", str(len(files)))
        table.add_row("alerts", str(total))
    else:
        table.add_row("nights with an archive file", str(len(files)))
        table.add_row("archive", f"{total / 1e6:.1f} MB, about {max(total // _PACKET_BYTES, len(files))} alerts")
    table.add_row("channels", ", ".join(channels))
    table.add_row("products", ", ".join(products) if products else "all that the channels ask for")
    table.add_row("partitions", str(len(files) * len(channels)))
    return table


def demo(alerts: Path | None, survey: str | None, night: str, number: int, *, keep_server: bool) -> None:
    """A night from packets to report."""
    from ampel_dagster.testing import SIMULATED_SURVEY

    instance = locate()
    config = load(instance.folder)
    if not config.surveys or not config.channels:
        raise UserError(f"the demo needs a stream and a channel; {instance.folder} lacks one of them")
    if parse_nights(night, "--night") != (night, night):
        raise UserError(f"--night {night}: the demo takes one night, YYYY-MM-DD")
    # What is simulated is ZTF's, whatever other surveys there are.
    survey = survey_of(config, SIMULATED_SURVEY if alerts is None else survey)
    _check_nights(config, survey, night, night)
    server = EmbeddedServer(instance.folder)
    started = server.uri is None
    start = time()
    try:
        if alerts is not None:
            files = list_files([alerts.expanduser()])
            console.print(f"T0 to T2: the job [bold]ingest[/bold] over {escape(str(alerts))} …")
            _ingest(instance, [alerts.expanduser().resolve()], (), survey, len(files))
            console.print("T3: the job [bold]react[/bold] …")
            run_job(instance, "react")
        else:
            _demo_assets(instance, config, survey, night, number)
        with session() as current:
            out.print(summary_table(current, survey))
            _say_where(current, start)
            if not any(current.store.survey(survey).ledger.alert.find_one({}) for survey in config.surveys):
                raise UserError("no channel accepted any alert; `ampel-dagster ledger` accounts for the packets")
    finally:
        if started and not keep_server:
            server.stop()


def _demo_assets(instance: Instance, config: Config, survey: str, night: str, number: int) -> None:
    """Simulate a night into the archive, and materialize the assets of all channels for it."""
    from ampel_dagster.testing import simulate_night, write_archive

    archive = config.stream(survey).archive
    if archive is None:
        raise UserError(f"the demo needs archive: in streams/{survey}.yaml; or give packets with --alerts")
    path = instance.path(archive.folder) / archive.file_name(night)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        kinds: Counter[str] = Counter()
        try:
            simulated = list(simulate_night(night, number))
        except ValueError as error:
            raise UserError(f"--night {night}: {error}") from None
        kinds.update(alert.kind for alert in simulated)
        write_archive(path, simulated)
        made = ", ".join(f"{n} of {kind}" for kind, n in sorted(kinds.items()))
        console.print(f"Simulated the night {night}: {len(simulated)} alerts ({made})")
    channels = sorted(config.channels)
    tags = range_tags(channels[0], channels[-1], night, night)
    console.print(f"T0 to T2: the assets of {', '.join(channels)} for {night} …")
    run_job(instance, "reprocess", tags=tags)
    console.print("T3: tables and reports …")
    run_job(instance, "report", tags=tags)


def _say_where(current: Session, start: float) -> None:
    """Name the reports that were written since `start` (seconds of the Unix epoch)."""
    times = {page: page.stat().st_mtime for page in current.instance.reports.glob("*/*/*/index.html")}
    pages = sorted((page for page in times if times[page] >= start - _CLOCK_S), key=lambda page: times[page])
    told = "Reports, to open in a browser:" if pages else "No channel with a report has accepted an alert."
    out.print(f"\nDone in {time() - start:.0f} s. {told}")
    for page in pages[-6:]:
        out.print(f"  {page.as_uri()}", soft_wrap=True, markup=False)
    out.print(
        "\nNext: `make dev` shows all this in the Dagster UI; `ampel-dagster provenance NAME` tells an object's story."
    )
