"""How good was it? Completeness, purity and latency against the truth; and whether two databases hold the same."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from week import Plan

from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.night import jd_of_night, nights_between
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import truth_table

#: Days from its explosion for which a supernova counts as young.
YOUNG_DAYS = 10.0
#: When the morning's reactions run, in days from the begin of the UT night.
REACTION_DAYS = 13 / 24
#: Of a supernova that was seen so long before (days) nothing is new.
LOOK_BACK_DAYS = 140
#: Lists of documents of which the order means nothing.
_SETS = {"stock", "channel", "tag", "alerts"}


def truth_of(plan: Plan) -> pd.DataFrame:
    """The truth about what has alerts in the week, by name; `found_jd` is the very first detection of a supernova."""
    truth = truth_table(plan.survey, plan.nights).set_index("name")
    truth = truth[truth.n_alerts > 0]
    detected: dict[str, float] = {}
    begin = pd.Timestamp(plan.nights[0]) - pd.Timedelta(days=LOOK_BACK_DAYS)
    for night in nights_between(f"{begin:%Y-%m-%d}", plan.nights[-1]):
        for sighting in plan.survey.sightings(night, ("supernova",)):
            detected.setdefault(sighting.name, sighting.jd)
    return truth.assign(found_jd=pd.Series(detected).reindex(truth.index).fillna(truth.first_jd))


def members(truth: pd.DataFrame) -> dict[str, set[str]]:
    """Names of the objects that each channel is made for."""
    supernovae = truth[truth.kind == "supernova"]
    young = supernovae.first_jd - supernovae.explosion_jd <= YOUNG_DAYS
    return {
        "young_sn": set(supernovae[young].index),
        "all_transients": set(supernovae.index),
        "variables": set(truth[truth.kind == "variable"].index),
    }


def scores(truth: pd.DataFrame, reactions: pd.DataFrame) -> pd.DataFrame:
    """By channel: members, objects that were reacted to, both; completeness and purity."""
    rows = []
    for channel, wanted in members(truth).items():
        told = set(reactions[reactions.channel == channel].name)
        both = len(wanted & told)
        counts = {"members": len(wanted), "reacted": len(told), "both": both}
        shares = {"completeness": both / max(len(wanted), 1), "purity": both / max(len(told), 1)}
        rows.append({"channel": channel, **counts, **shares})
    return pd.DataFrame(rows).set_index("channel")


def latencies(truth: pd.DataFrame, reactions: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Days to the first reaction, of each channel's members that were detected for the first time in the week.

    `from_detection` counts from the first detection, `from_explosion` from the explosion of a supernova.
    """
    new = truth[truth.found_jd >= jd_of_night(plan.nights[0])]
    rows = []
    for channel, wanted in members(truth).items():
        mine = reactions[reactions.channel == channel].groupby("name").night.min()
        for name, night in mine[mine.index.isin(wanted & set(new.index))].items():
            reacted, object_ = jd_of_night(night) + REACTION_DAYS, new.loc[name]
            since = {"from_detection": reacted - object_.found_jd, "from_explosion": reacted - object_.explosion_jd}
            rows.append({"channel": channel, "name": name, **since})
    return pd.DataFrame(rows, columns=["channel", "name", "from_detection", "from_explosion"])


def waits(store: Store, told: pd.DataFrame) -> pd.Series:
    """Seconds from the last result of an object's state to the arrival of the message about it."""
    links = {"link": {"$in": [int(link) for link in told.link]}, "product": {"$ne": "light_curve_summary"}}
    last: dict[tuple[int, int], float] = {}
    for d in store.survey("ztf").t2_documents(links):
        key = d["stock"], d["link"]
        last[key] = max(last.get(key, 0.0), d["meta"]["ts"].timestamp())
    pairs = zip(told.stock, told.link, told.arrived, strict=True)
    return pd.Series([arrived - last[stock, link] for stock, link, arrived in pairs], dtype=float)


def content(store: Store) -> dict[str, dict[int, int]]:
    """A hash of each document by collection and id, without what tells of the run: who wrote it, and when."""
    ztf, found = store.survey("ztf"), {}
    kept: dict[str, tuple[Any, Sequence[str]]] = {
        "stock": (ztf.stocks.collection, ("name", "tag", "position")),
        "t0": (ztf.points.collection, ("kind", "stock", "tag", "jd", "sensor", "rank", "body")),
        "t1": (ztf.states.collection, ("stock", "dps", "alerts", "night", "jd")),
        "t2": (ztf.results.collection, ("product", "unit", "version", "stock", "input", "code", "digest", "link")),
        "alert": (ztf.ledger.alert, ("stock", "jd", "night", "dps", "state", "rank", "verdict")),
        "rejected": (ztf.ledger.rejected, ("stock", "jd", "night", "verdict")),
    }
    for name, (collection, fields) in kept.items():
        found[name] = {d["_id"]: hash_json(_plain(d, fields)) for d in collection.find()}
    return found


def _plain(document: Mapping[str, Any], fields: Sequence[str]) -> list[str]:
    chosen = {field: document.get(field) for field in (*fields, "channel", "result")}
    for name in _SETS & {name for name, value in chosen.items() if isinstance(value, list)}:
        chosen[name] = sorted(chosen[name])
    if chosen.get("verdict"):
        # The batch is the one part of a verdict that tells of the run.
        verdicts = sorted(chosen["verdict"].items())
        chosen["verdict"] = [(who, verdict["config"], verdict["code"]) for who, verdict in verdicts]
    return [f"{name}={value!r}" for name, value in chosen.items()]
