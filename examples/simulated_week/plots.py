"""Plots of the week: completeness and purity, latency, and light curves of each kind of object."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from score import YOUNG_DAYS, latencies, scores
from week import Plan

from ampel_dagster.model.night import jd_of_night

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

#: Okabe & Ito's, which all eyes can tell apart.
_BLUE, _ORANGE, _GREEN, _GREY = "#0072b2", "#d55e00", "#009e73", "#777777"
_BANDS = {1: ("g", _GREEN, "o"), 2: ("r", _ORANGE, "s")}
_DPI = 110


def draw(folder: Path, plan: Plan, truth: pd.DataFrame, reactions: pd.DataFrame) -> list[Path]:
    """Write the plots; return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "week-scores": _scores(scores(truth, reactions)),
        "week-latency": _latency(latencies(truth, reactions, plan)),
        "week-light-curves": _light_curves(plan, truth, reactions),
    }
    for name, figure in figures.items():
        # Without software and date in its head the same plot is the same file.
        figure.savefig(folder / f"{name}.png", dpi=_DPI, metadata={"Software": None})
        plt.close(figure)
    return [folder / f"{name}.png" for name in figures]


def _scores(found: pd.DataFrame) -> Any:
    figure, axes = plt.subplots(figsize=(6.4, 3.0), layout="constrained")
    for shift, (name, color) in zip((-0.2, 0.2), (("completeness", _BLUE), ("purity", _ORANGE)), strict=True):
        places = [place + shift for place in range(len(found))]
        bars = axes.bar(places, found[name], width=0.38, color=color, label=name)
        axes.bar_label(bars, fmt="{:.2f}", padding=2)
    labels = [
        f"{channel}\n{row.both:.0f} of {row.members:.0f}, {row.reacted:.0f} told" for channel, row in found.iterrows()
    ]
    axes.set_xticks(range(len(found)), labels)
    axes.set_ylim(0, 1.25)
    axes.legend(ncols=2, loc="upper left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _latency(found: pd.DataFrame) -> Any:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.0, 3.0), layout="constrained")
    bins = [step / 2 for step in range(2 * int(max(found.from_detection.max(), 3)) + 4)]
    for channel, color in (("all_transients", _BLUE), ("young_sn", _ORANGE)):
        mine = found[found.channel == channel]
        left.hist(mine.from_detection, bins, histtype="stepfilled", alpha=0.5, color=color, label=channel)
        right.hist(mine.from_explosion, range(14), histtype="stepfilled", alpha=0.5, color=color, label=channel)
    left.set(xlabel="days from first detection to reaction", ylabel="supernovae first seen in the week")
    right.set(xlabel="days from explosion to reaction")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _light_curves(plan: Plan, truth: pd.DataFrame, reactions: pd.DataFrame) -> Any:
    """One object of each kind: what its last packet of the week tells."""
    first_told = reactions.groupby("name").night.min()
    packets: dict[str, Any] = {}
    for night in plan.nights:
        for alert in plan.survey.night(night):
            packets[alert.name] = alert
    figure, every = plt.subplots(1, 4, figsize=(12.0, 3.4), layout="constrained")
    for axes, (title, name) in zip(every, _chosen(truth, first_told).items(), strict=True):
        zero = jd_of_night(plan.nights[0])
        body = packets[name].packet
        for row in [*(body["prv_candidates"] or []), body["candidate"]]:
            _, color, marker = _BANDS[row["fid"]]
            if row.get("magpsf") is None:
                axes.plot(row["jd"] - zero, row["diffmaglim"], "v", color=color, alpha=0.3, markersize=4)
            else:
                axes.errorbar(
                    row["jd"] - zero, row["magpsf"], row["sigmapsf"], color=color, marker=marker, markersize=5
                )
        if name in first_told:
            axes.axvline(jd_of_night(first_told[name]) + 13 / 24 - zero, color=_BLUE, linestyle="--")
        if pd.notna(truth.explosion_jd[name]):
            axes.axvline(truth.explosion_jd[name] - zero, color=_GREY, linestyle=":")
        axes.set(title=f"{title}: {name}", xlabel="days of the week", xlim=(-21, len(plan.nights)))
        axes.title.set_fontsize(10)
        axes.invert_yaxis()
    every[0].set_ylabel("magnitude")
    marks = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=band) for band, color, marker in _BANDS.values()
    ]
    marks += [
        Line2D([], [], color=_GREY, marker="v", linestyle="", alpha=0.5, label="limit"),
        Line2D([], [], color=_GREY, linestyle=":", label="explosion"),
        Line2D([], [], color=_BLUE, linestyle="--", label="first reaction"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    return figure


def _chosen(truth: pd.DataFrame, first_told: pd.Series) -> dict[str, str]:
    """By kind the object with the most alerts; of supernovae a young one, that was told about if there is any."""
    young = truth.first_jd - truth.explosion_jd <= YOUNG_DAYS
    ranked = truth.assign(young=young, told=truth.index.isin(first_told.index))
    ranked = ranked.sort_values(["young", "told", "n_alerts"], ascending=False, kind="stable")
    return {kind: str(ranked[ranked.kind == kind].index[0]) for kind in ("supernova", "variable", "asteroid", "bogus")}
