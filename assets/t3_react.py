"""``t3/<process>``: reactions and reports, private to their channel."""

import re
from collections import Counter
from itertools import product
from typing import Any

import dagster as dg

from ampel_dagster.config.instance import Instance, ui_url
from ampel_dagster.config.load import Config
from ampel_dagster.config.secrets import Secrets
from ampel_dagster.model.run import CODE_VERSION, RunInfo
from ampel_dagster.model.view import TransientView
from ampel_dagster.pipeline.gate import is_live
from ampel_dagster.pipeline.t3_react import react_to_night
from ampel_dagster.pipeline.t3_record import Reacted, Reaction
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import Process
from assets.partitions import backfill_policy, begin, channel_nights
from resources.curves import SHOWN_AT_ONCE, curve_image
from resources.metadata import escaped, failure_table, markdown_table
from resources.mongo import MongoResource
from resources.partitions import partition_key, split_partitions

#: Counts that are shown also where they are 0.
_ALWAYS = ("seen", "selected", "deferred", "reacted", "skipped", "failed")
#: Light curves that are drawn, and characters of a preview: both stay in the event log.
_CURVES, _PREVIEW = 3, 5000
#: Owners are shown as people only where they are addresses.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def t3_asset(config: Config, process: Process) -> dg.AssetsDefinition:
    """What one process does for a channel and night."""
    upstream_products = sorted(
        {
            (r.survey, q.product.name)
            for c in config.channels_of(process.name)
            for r in c.surveys.values()
            for q in r.requests
        }
    )
    upstream = [dg.AssetKey([survey, "t2", name]) for survey, name in upstream_products]
    units = ", ".join(type(unit).__name__ for unit in process.units)

    @dg.asset(
        key=["t3", process.name],
        deps=upstream or [dg.AssetKey([survey, "t1"]) for survey in config.surveys],
        partitions_def=channel_nights(config),
        backfill_policy=backfill_policy(),
        group_name="t3",
        kinds={"python"},
        code_version=CODE_VERSION,
        tags={"tier": "3"},
        owners=sorted({c.contact for c in config.channels_of(process.name) if _EMAIL.fullmatch(c.contact)}) or None,
        description=f"Reacts with {units} to what the channels select.",
    )
    def t3(context: dg.AssetExecutionContext, mongo: MongoResource) -> dg.MaterializeResult[Any]:
        channels, nights = split_partitions(context.partition_keys)
        run = begin(context, config, mongo.store, "archive")
        publish = None if run.mode == "live" or process.react else frozenset[int]()
        todo = product(reactions(config, mongo.store, process, run, channels), nights)
        reacted = [react_to_night(reaction, night, publish) for reaction, night in todo]
        for done in reacted:
            key = partition_key(done.channel, done.night)
            context.add_asset_metadata(reaction_metadata(done), partition_key=key)
        raise_failures(reacted)
        return dg.MaterializeResult(metadata={"units": units})

    return t3


def reactions(config: Config, store: Store, process: Process, run: RunInfo, channels: list[str]) -> list[Reaction]:
    """What a process does for those of the channels that ask for it, one entry a survey.

    A live run leaves out channels that are not activated.
    """
    reports, secrets = Instance(config.folder).reports, Secrets(config.folder)
    return [
        Reaction(store, config.instrument(rules.survey), process, rules, run, reports, ui_url(), secrets)
        for channel in config.channels_of(process.name)
        if channel.name in channels
        for rules in channel.surveys.values()
        if run.mode == "archive" or is_live(store, rules)
    ]


def raise_failures(reacted: list[Reacted]) -> None:
    """Fail the step if a unit failed: what it has not done stays new, and is tried again by the next run."""
    failures = Counter[tuple[str, str]]()
    for done in reacted:
        failures.update(done.failures)
    if failures:
        ((who, message), _), *others = failures.most_common()
        more = f" (and {len(others)} more)" if others else ""
        raise dg.Failure(
            f"{who} failed: {message}{more}", metadata={"failures": dg.MetadataValue.md(failure_table(failures))}
        )


def reaction_metadata(done: Reacted) -> dict[str, Any]:
    """Figures, first objects with what each unit did for them, a few light curves, and files of a channel and night."""
    found: dict[str, Any] = {"dagster/row_count": done.counts["selected"], **dict.fromkeys(_ALWAYS, 0)}
    found |= dict(done.counts)
    if done.names:
        found["objects"] = ", ".join(done.names) + (" …" if done.counts["selected"] > len(done.names) else "")
    if done.shown:
        found["table"] = dg.MetadataValue.md(_table(done))
        for number, view in enumerate(done.shown[:_CURVES], start=1):
            name = escaped(view.name)
            image = curve_image(view.light_curve, SHOWN_AT_ONCE - len(name) - 2)
            found[f"light curve {number}"] = dg.MetadataValue.md(f"{name}: {image}")
    for artefact in done.artefacts:
        # The pages of single objects are reached from the index.
        if artefact.path.parent.name == "objects":
            continue
        found[artefact.path.name] = dg.MetadataValue.path(str(artefact.path))
    for unit, text in done.previews.items():
        found[f"{unit} (dry run)"] = text[:_PREVIEW]
    if done.failures:
        found["failures"] = "; ".join(f"{who}: {message}" for who, message in done.failures)
    return found


def _table(done: Reacted) -> str:
    """The first objects, as many as the UI shows at once."""
    rows = [_object_row(done, view) for view in done.shown]
    while len(text := markdown_table(rows)) >= SHOWN_AT_ONCE and len(rows) > 1:
        rows.pop()
    return text


def _object_row(done: Reacted, view: TransientView) -> dict[str, Any]:
    """One object: where, how bright, and what each unit did."""
    facts = view.facts
    row: dict[str, Any] = {"object": view.name, "detections": facts["n_detections"]}
    row |= {"peak mag": _rounded(facts["peak_mag"]), "last mag": _rounded(facts["last_mag"])}
    # What the page cuts off on the right can be had elsewhere: the position.
    row |= {
        unit: ", ".join(word for word, stocks in words.items() if view.stock in stocks) or "–"
        for unit, words in done.done.items()
    }
    return row | {"ra deg": round(view.ra_deg, 5), "dec deg": round(view.dec_deg, 5)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
