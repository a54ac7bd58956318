"""``view``: the page of one object."""

import os
import sys
import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ampel_dagster.commands.examples import examples
from ampel_dagster.commands.looking import find_stock
from ampel_dagster.commands.session import Session, console, known, session
from ampel_dagster.config.instance import ui_url
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import utc_now
from ampel_dagster.model.stock import Stock
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.pipeline.t3_views import view_of_stock
from ampel_dagster.units.bound import ChannelRules
from ampel_dagster.units.t3.light_curve_report import LightCurveReport

#: Beside the folders of processes, whose names begin with a letter.
_FOLDER = "_view"


@click.command()
@click.argument("stock")
@click.option("--channel", help="Through whose eyes; default: the channel that took most of its alerts.")
@click.option("--state", "link", type=int, help="As of this state (a link, see `states`); default: the newest.")
@click.option("--save", type=click.Path(path_type=Path), help="Write the page to this file, and open no browser.")
@examples("ampel-dagster view ZTF18abcecyc", "ampel-dagster view ZTF18abcecyc --channel BRIGHT --save object.html")
def view(stock: str, channel: str | None, link: int | None, save: Path | None) -> None:
    """Open the page of an object (name or id) as its channel may see it, in the browser or where --save says."""
    _view(stock, channel, link, save)


def _view(name: str, channel: str | None, link: int | None, save: Path | None) -> None:
    with session() as current:
        known("channel", [channel] if channel else [], list(current.config.channels))
        survey, stock = find_stock(current.config, current.store, name)
        there = _channels(current, survey, stock)
        # Whether others have it is none of a channel's business.
        asked = [rules for rules in there if channel is None or rules.channel == channel]
        if not asked:
            raise UserError(f"{channel or 'each channel'} has accepted no alert of {stock.name}")
        found = _first_view(current, stock, asked, link)
        path = _write(current, found, save)
    if channel is None and there[1:]:
        others = ", ".join(rules.channel for rules in there if rules.channel != found.channel)
        console.print(f"as {found.channel} sees it; --channel takes also: {others}")
    click.echo(path)
    if save is None and has_display():
        webbrowser.open(path.as_uri())


def has_display(env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> bool:
    """Whether a browser has somewhere to show a page: elsewhere one in the terminal would take it over."""
    return platform in ("darwin", "win32") or any(env.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _channels(current: Session, survey: str, stock: Stock) -> list[ChannelRules]:
    """The channels that took alerts of the object, the one that took most of them first."""
    ledger = current.store.survey(survey).ledger
    taken = [(len(ledger.of_channel(stock.id, rules.channel)), rules) for rules in current.config.rules(survey)]
    there = sorted((entry for entry in taken if entry[0]), key=lambda entry: (-entry[0], entry[1].channel))
    return [rules for _, rules in there]


def _first_view(current: Session, stock: Stock, channels: Sequence[ChannelRules], link: int | None) -> TransientView:
    """The object through the eyes of the first of the channels that has it, or its state."""
    for rules in channels:
        survey, instrument = current.store.survey(rules.survey), current.config.instrument(rules.survey)
        found = view_of_stock(survey, instrument, rules, stock.id, link)
        if found is not None:
            return found
    who = " and ".join(rules.channel for rules in channels)
    if link is None:
        raise UserError(f"there is no state of {stock.name} for {who} yet")
    raise UserError(f"there is no state {link} of {stock.name} for {who}; `ampel-dagster states` lists them")


def _write(current: Session, view: TransientView, save: Path | None) -> Path:
    rules = current.config.channels[view.channel].surveys[view.survey]
    folder = current.instance.reports / _FOLDER / view.channel
    products = [request.product.name for request in rules.requests]
    context = ReactionContext("", view.channel, view.night, "", utc_now(), folder, ui_url=ui_url(), products=products)
    try:
        report = LightCurveReport().prepare(current.instance.folder)
        return report.write_page(view, context, None if save is None else save.expanduser().absolute())
    except (OSError, ValueError) as error:
        raise UserError(f"no page of {view.name}: {error}") from None
