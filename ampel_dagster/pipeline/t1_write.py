"""T1: write what was combined: states with what was computed on them, and tickets."""

from collections.abc import Mapping
from typing import Any, TypeVar

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.pipeline.t1_combine import Combination, StateDraft, TicketDraft
from ampel_dagster.pipeline.t1_compute import Computed, compute_values
from ampel_dagster.storage.store import SurveyStore

Meta = Mapping[str, Any]
V = TypeVar("V", str, int)


def write_combination(survey: SurveyStore, instrument: Instrument, found: Combination, meta: Meta) -> dict[str, int]:
    """Write states with their values, and tickets; return how many are new, and how many values there are not."""
    survey.points.add_channels(_grouped(found.point_channels))
    values = compute_values(survey, instrument, found.states, meta)
    new_states = _write_states(survey, found, values, meta)
    new_tickets = _write_tickets(survey, found, meta)
    failed = sum(value["code"] < 0 for computed in values.values() for value in computed.values())
    return {"t1": new_states, "t2": new_tickets} | ({"t1_failed": failed} if failed else {})


def _write_states(survey: SurveyStore, found: Combination, values: Mapping[int, Computed], meta: Meta) -> int:
    there = survey.states.known(found.states)
    new = [_state_document(link, s, values.get(link), meta) for link, s in found.states.items() if link not in there]
    duplicates = survey.states.insert(new)
    there |= survey.states.known(duplicates) if duplicates else {}
    channels = {link: found.states[link].channels - had for link, (had, _) in there.items()}
    alerts = {link: found.states[link].alerts - had for link, (_, had) in there.items()}
    survey.states.add_channels(_grouped({link: more for link, more in channels.items() if more}))
    survey.states.add_alerts(_grouped({link: more for link, more in alerts.items() if more}))
    survey.states.set_values({link: values[link] for link in there if link in values})
    return len(new) - len(duplicates)


def _write_tickets(survey: SurveyStore, found: Combination, meta: Meta) -> int:
    tickets = survey.tickets
    # In this order: a ticket that becomes a result between the two is seen.
    there = tickets.known(found.tickets)
    there |= survey.results.known([id_ for id_ in found.tickets if id_ not in there])
    new = [_ticket_document(id_, t, meta) for id_, t in found.tickets.items() if id_ not in there]
    duplicates = tickets.insert(new)
    renewed = [id_ for id_ in there if id_ in found.renewed]
    there |= tickets.known(duplicates) if duplicates else {}
    channels = {id_: found.tickets[id_].channels - had for id_, (had, _) in there.items()}
    tickets.add_channels(_grouped({id_: c for id_, c in channels.items() if c}))
    members = {
        id_: found.tickets[id_].members - had
        for id_, (_, had) in there.items()
        if not found.tickets[id_].product.of_state
    }
    tickets.add_members(_grouped({id_: m for id_, m in members.items() if m}))
    if renewed:
        # Whoever is at it has read the stock as it was before. What keeps killing workers stays given up.
        tickets.take_back(renewed)
        tickets.request_rerun({"_id": {"$in": renewed}, "code": {"$ne": DocumentCode.TOO_MANY_TRIALS.value}})
    return len(new) - len(duplicates)


def _grouped(values: Mapping[int, set[V]]) -> dict[tuple[V, ...], list[int]]:
    grouped: dict[tuple[V, ...], list[int]] = {}
    for id_, found in values.items():
        grouped.setdefault(tuple(sorted(found)), []).append(id_)
    return grouped


def _state_document(link: int, state: StateDraft, values: Computed | None, meta: Meta) -> dict[str, Any]:
    document = {
        "_id": link,
        "stock": state.stock,
        "dps": list(state.dps),
        "alerts": sorted(state.alerts),
        "channel": sorted(state.channels),
        "night": state.night,
        "jd": state.jd,
        "meta": meta,
    }
    return document | {"computed": values} if values else document


def _ticket_document(id_: int, ticket: TicketDraft, meta: Meta) -> dict[str, Any]:
    product = ticket.product
    document: dict[str, Any] = {
        "_id": id_,
        "product": product.name,
        "product_id": product.id,
        "stock": ticket.stock,
        "input": ticket.input,
        "channel": sorted(ticket.channels),
        "code": DocumentCode.NEW.value,
        "attempts": 0,
        "meta": meta,
    }
    if product.of_state:
        document |= {"link": ticket.link, "night": ticket.night}
    else:
        document["member"] = sorted(ticket.members)
    return document
