"""The section of an object's page that says where each number comes from."""

from ampel_dagster.model.codes import code_name
from ampel_dagster.model.result import T2Result
from ampel_dagster.model.view import PastState, ReactionContext, TransientView
from ampel_dagster.units.t3._report_text import NONE, cell, date, esc, run_link, table, terms, timestamp

_MOST_STATES = 100
#: Of more states than this the list is folded.
_MOST_OPEN = 12


def provenance(view: TransientView, context: ReactionContext) -> str:
    """Alerts, file, runs, state and documents behind the page."""
    facts = terms(
        [
            ("Object", f"{esc(view.name)}, stock <code>{view.stock}</code> of {esc(view.survey)}"),
            ("Alerts of the night", _codes(view.alerts) or NONE),
            ("Last alert read from", f"<code>{esc(view.source)}</code>, packet {view.offset}"),
            ("Stored by run", run_link(view.run, context.ui_url)),
            ("Photometry from state", f"<code>{view.link}</code>, {_points(view)}"),
            ("This page by", _author(context)),
        ],
        "origin",
    )
    command = f'<p class="muted small">More of it: <code>ampel-dagster provenance {view.stock}</code></p>'
    return (
        '<section id="provenance"><h2>Where each number comes from</h2>'
        f"{facts}{_products(view, context)}{_states(view)}{command}</section>"
    )


def _author(context: ReactionContext) -> str:
    if context.run:
        return f"{esc(context.process)}, run {run_link(context.run, context.ui_url)}"
    return f"<code>ampel-dagster view</code>, {timestamp(context.now)}"


def _points(view: TransientView) -> str:
    kinds = [point.kind for point in view.points]
    parts = [
        f"{kinds.count(kind)} {word}"
        for kind, word in (
            ("detection", "detections"),
            ("upper_limit", "upper limits"),
            ("forced", "forced points"),
        )
        if kind in kinds
    ]
    return f"{len(kinds)} datapoints" + (f" ({', '.join(parts)})" if parts else "")


def _products(view: TransientView, context: ReactionContext) -> str:
    missing = sorted(set(context.products) - set(view.t2))
    note = f"<p>Without a result so far: {esc(', '.join(missing))}.</p>" if missing else ""
    if not view.t2:
        return note
    heads = ("Product", "Unit", "Version", "Code", "Computed from", "Config hash", "Document", "Run", "Time")
    rows = [
        [
            cell(f'<a href="#t2-{number}">{esc(name)}</a>'),
            cell(esc(result.unit)),
            cell(esc(result.version)),
            cell(esc(code_name(result.code))),
            cell(_input(result, view)),
            cell(f"<code>{result.config}</code>"),
            cell(f"<code>{result.id}</code>"),
            cell(run_link(result.run, context.ui_url, short=True)),
            cell(timestamp(result.ts), css="num"),
        ]
        for number, (name, result) in enumerate(sorted(view.t2.items()))
    ]
    return note + table(heads, rows, caption="T2 results")


def _input(result: T2Result, view: TransientView) -> str:
    if result.input == view.link:
        return "this state"
    if result.input == view.stock:
        return "the stock"
    kind = "datapoint" if any(point.id == result.input for point in view.points) else "input"
    return f"{kind} <code>{result.input}</code>"


def _states(view: TransientView) -> str:
    """The object's states so far; what a number was computed from changes with them."""
    known = {state.link: state for state in view.history}
    shown = list(enumerate(view.states, start=1))[-_MOST_STATES:]
    if not shown:
        return ""
    rows = [_state_row(number, link, known.get(link), link == view.link) for number, link in shown]
    hidden = len(view.states) - len(shown)
    more = f"<p>{hidden} older ones are not listed.</p>" if hidden else ""
    is_open = " open" if len(shown) <= _MOST_OPEN else ""
    word = "state" if len(view.states) == 1 else "states"
    heads = ("No.", "State", "When [UTC]", "Night", "Points", "Alerts")
    return (
        f"<details{is_open}><summary>History: {len(view.states)} {word} of the object, oldest first</summary>"
        f"{more}{table(heads, rows, label='States of the object')}</details>"
    )


def _state_row(number: int, link: int, state: PastState | None, is_this: bool) -> list[str]:
    name = cell(f"<code>{link}</code>{' <b>this page</b>' if is_this else ''}")
    if state is None:
        return [cell(str(number)), name, *[cell(NONE)] * 4]
    return [
        cell(str(number)),
        name,
        cell(date(state.jd, "%Y-%m-%d %H:%M:%S"), css="num"),
        cell(esc(state.night), css="num"),
        cell(str(state.n_points)),
        cell(_codes(state.alerts) or NONE),
    ]


def _codes(ids: tuple[int, ...]) -> str:
    return ", ".join(f"<code>{id_}</code>" for id_ in ids)
