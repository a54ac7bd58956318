"""What lies above the report of a night: the nights of a channel, and the channels of a process."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ampel_dagster.model.view import ReactionContext
from ampel_dagster.units.t3._files import write_text
from ampel_dagster.units.t3._report_style import page
from ampel_dagster.units.t3._report_text import NONE, cell, esc, sort_button, table

#: What a report says of itself to the pages above.
_SUMMARY = "summary.json"
_INDEX = "index.html"


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
    rows = [
        [
            cell(f'<a href="{esc(place)}/{_INDEX}">{esc(said["night"])}</a>', said["night"], "name"),
            cell(esc(place.partition("/")[2].removeprefix("updates_")) or "whole night", place),
            cell(str(said["objects"]), said["objects"]),
            cell(str(said["pages"]), said["pages"]),
            cell(esc(said["written"]), said["written"], "num"),
        ]
        for place, said in sorted(_summaries(folder), reverse=True)
    ]
    heads = [sort_button(name) for name in ("Night", "What", "Objects", "Pages", "Written")]
    links = f'<nav aria-label="Reports"><a href="../{_INDEX}">All channels of {esc(context.process)}</a></nav>'
    listing = table(heads, rows, "sortable", label=f"Nights of {context.channel}")
    heading = f"Channel {context.channel}, {context.process}"
    return page(heading, f"<header>{links}<h1>{esc(heading)}</h1></header><main>{listing}</main>")


def _summaries(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in (*folder.glob(f"*/{_SUMMARY}"), *folder.glob(f"*/*/{_SUMMARY}")):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # somebody removes the report at this moment
        yield path.parent.relative_to(folder).as_posix(), said


def _process_page(context: ReactionContext, folder: Path) -> str:
    """The channels, by name. Only folders are listed: of many nights nothing is read."""
    rows = []
    for channel in sorted(path.name for path in folder.iterdir() if (path / _INDEX).is_file()):
        nights = sorted(entry.name for entry in os.scandir(folder / channel) if entry.is_dir())
        last = f'<a href="{esc(channel)}/{esc(nights[-1])}/{_INDEX}">{esc(nights[-1])}</a>' if nights else NONE
        linked = f'<a href="{esc(channel)}/{_INDEX}">{esc(channel)}</a>'
        rows.append([cell(linked, channel, "name"), cell(str(len(nights)), len(nights)), cell(last, nights[-1:] or "")])
    heads = [sort_button(name) for name in ("Channel", "Nights", "Last night")]
    listing = table(heads, rows, "sortable", label="Channels")
    heading = f"Reports of {context.process}"
    return page(heading, f"<header><h1>{esc(heading)}</h1></header><main>{listing}</main>")
