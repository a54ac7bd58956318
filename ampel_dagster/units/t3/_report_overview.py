"""What lies above the report of a night: the nights of a channel, and the channels of a process."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ampel_dagster.model.view import ReactionContext
from ampel_dagster.units.t3._files import write_text
from ampel_dagster.units.t3._report_style import page
from ampel_dagster.units.t3._report_text import NONE, breakable, cell, esc, sort_button, table, terms, timestamp

#: What a report says of itself to the pages above.
_SUMMARY = "summary.json"
_INDEX = "index.html"
#: Folders of reports on what came in later runs begin with this, and go on with the time.
_UPDATES, _UPDATES_TIME = "updates_", "%Y%m%dT%H%M%S.%f"


def depth_below_channel(context: ReactionContext) -> int:
    """How many folders the report lies below its channel's; 0 where it lies elsewhere."""
    for depth, folder in enumerate(context.folder.parents[:3], start=1):
        if folder.name == context.channel and folder.parent.name == context.process:
            return depth
    return 0


def write_overview(context: ReactionContext, objects: int, pages: int) -> None:
    """Say what the report holds, and write the pages of its channel and of its process anew."""
    depth = depth_below_channel(context)
    if not depth:
        return
    folder = context.folder.parents[depth - 1]
    said = {
        "night": context.night,
        "objects": objects,
        "pages": pages,
        "run": context.run,
        "written": context.now.isoformat(timespec="seconds"),
    }
    write_text(context.folder / _SUMMARY, json.dumps(said))
    write_text(folder / _INDEX, _channel_page(context, folder))
    write_text(folder.parent / _INDEX, _process_page(context, folder.parent))


def _channel_page(context: ReactionContext, folder: Path) -> str:
    """The nights, newest first; below each what came in later runs."""
    found = sorted(_summaries(folder), reverse=True)
    rows = [
        [
            cell(_link(place, said["night"], _part(place)), place, "night"),
            cell(_objects(said), said["objects"]),
            cell(_written(said), said["written"], "num"),
        ]
        for place, said in found
    ]
    nights = {said["night"] for _, said in found}
    facts = [("nights", f"{len(nights):,}"), ("last night", esc(max(nights)))]
    # News are a part of the night: how many objects it has they don't say.
    facts += [("objects in it", f"{said['objects']:,}") for place, said in found if place == max(nights)]
    heads = [sort_button("Night", ' aria-sort="descending"'), sort_button("Objects"), sort_button("Written")]
    links = f'<nav aria-label="Reports"><a href="../{_INDEX}">All channels of {esc(context.process)}</a></nav>'
    title = f"Channel {context.channel}, process {context.process}"
    return _overview(context, title, links, facts, table(heads, rows, "sortable overview", label="Nights"))


def _process_page(context: ReactionContext, folder: Path) -> str:
    """The channels, by name. Of many nights only the last one's report is read."""
    rows, last = [], ""
    for channel in sorted(path.name for path in folder.iterdir() if (path / _INDEX).is_file()):
        nights = sorted(entry.name for entry in os.scandir(folder / channel) if entry.is_dir())
        places = [place for night in nights if (place := _place_of(folder / channel, night))]
        said = _summary(folder / channel / places[-1]) if places else None
        rows.append(
            [
                cell(f'<a href="{esc(channel)}/{_INDEX}">{breakable(channel)}</a>', channel, "name"),
                cell(f"{len(places):,}", len(places)),
                _last_cell(channel, places[-1], said) if said else cell(NONE, ""),
            ]
        )
        last = max(last, said["night"] if said else "")
    heads = [sort_button("Channel", ' aria-sort="ascending"')]
    heads += [sort_button(name) for name in ("Nights", "Last night")]
    facts = [("channels", f"{len(rows):,}"), ("last night", esc(last) or NONE)]
    listing = table(heads, rows, "sortable overview", label="Channels")
    return _overview(context, f"Process {context.process}", "", facts, listing)


def _overview(context: ReactionContext, title: str, links: str, facts: Sequence[tuple[str, str]], listing: str) -> str:
    about = f'<p class="muted">Written {timestamp(context.now)}</p>'
    head = f"{links}<h1>{breakable(title)}</h1>{about}{terms(facts, 'facts')}"
    return page(title, f"<header>{head}</header><main>{listing}</main>")


def _last_cell(channel: str, place: str, said: Mapping[str, Any]) -> str:
    """The last night and its number of objects, in one cell: three columns are what a phone shows."""
    link = _link(f"{channel}/{place}", said["night"], _part(place) if "/" in place else "")
    objects = "object" if said["objects"] == 1 else "objects"
    return cell(f"{link}<small>{said['objects']:,} {objects}</small>", said["night"], "night")


def _link(place: str, night: str, part: str) -> str:
    """A link to a report; what part of the night it tells of belongs to its words, as nights have several."""
    below = f"<small>{part}</small>" if part else ""
    return f'<a href="{esc(place)}/{_INDEX}">{esc(night)}{below}</a>'


def _part(place: str) -> str:
    """What part of a night a report tells of."""
    name = place.partition("/")[2]
    if not name:
        return "whole night"
    try:
        return f"news of {timestamp(datetime.strptime(name, _UPDATES + _UPDATES_TIME).replace(tzinfo=UTC))}"
    except ValueError:
        return esc(name)  # somebody's own folder


def _objects(said: Mapping[str, Any]) -> str:
    fewer = f"<small>{said['pages']:,} with a page</small>" if said["pages"] < said["objects"] else ""
    return f"{said['objects']:,}{fewer}"


def _written(said: Mapping[str, Any]) -> str:
    day, _, time = timestamp(datetime.fromisoformat(said["written"])).partition(" ")
    return f"{day}<small>{time}</small>"


def _summaries(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in (*folder.glob(f"*/{_SUMMARY}"), *folder.glob(f"*/*/{_SUMMARY}")):
        said = _summary(path.parent)
        if said is not None:
            yield path.parent.relative_to(folder).as_posix(), said


def _place_of(folder: Path, night: str) -> str:
    """Place of a night's report, or where there is none of the whole night, of its last news; empty: neither."""
    if (folder / night / _SUMMARY).is_file():
        return night
    news = sorted(path.parent.name for path in folder.glob(f"{night}/{_UPDATES}*/{_SUMMARY}"))
    return f"{night}/{news[-1]}" if news else ""


def _summary(folder: Path) -> Mapping[str, Any] | None:
    """What a report says of itself; None where there is none, or somebody removes it at this moment."""
    try:
        found: Mapping[str, Any] = json.loads((folder / _SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
