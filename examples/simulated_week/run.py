"""A simulated week with known truth: once live, night by night; then deleted, and once more by one backfill.

Run: .venv/bin/python examples/simulated_week/run.py [FOLDER] [--objects 1400] [--plots docs/images]

FOLDER (./.week, which must not be there) becomes an instance: look at it with AMPEL_INSTANCE=FOLDER ampel-dagster dev.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pandas as pd
from plots import draw
from score import content, latencies, scores, truth_of, waits
from week import Plan, Platform, Receiver, write_instance

from ampel_dagster.model.night import nights_between
from ampel_dagster.storage.access import open_store
from ampel_dagster.storage.server import EmbeddedServer

NIGHTS = tuple(nights_between("2026-11-02", "2026-11-08"))
LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
STATE = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  __typename ... on PartitionBackfill { status error { message } } } }"""


@contextmanager
def dagster_ui(folder: Path) -> Any:
    """Dagster's web server and daemon at work on the instance; gives the address of the server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "ampel_dagster", "dev", "--port", str(port)]
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def ask(address: str, query: str, **variables: Any) -> Any:
    """What the server answers, as soon as there is one."""
    for _ in range(120):
        try:
            answer = httpx.post(f"{address}/graphql", json={"query": query, "variables": variables}, timeout=60)
            return next(iter(answer.raise_for_status().json()["data"].values()))
        except (httpx.TransportError, httpx.HTTPStatusError):
            time.sleep(1)
    raise SystemExit(f"nobody answers at {address}; see dev.log")


def backfill(platform: Platform, nights: tuple[str, ...]) -> int:
    """The backfill that the UI starts when one chooses all assets and these nights; returns its number of runs."""
    config = platform.config
    assets = [["ztf", "t0"], ["ztf", "t1"], *(["ztf", "t2", product] for product in config.products)]
    assets += [["t3", process] for process in config.processes]
    selection = [{"path": path} for path in assets]
    with dagster_ui(platform.instance.folder) as address:
        params = {"assetSelection": selection, "partitionNames": platform.partitions(nights), "tags": []}
        launched = ask(address, LAUNCH, params=params)
        if launched["__typename"] != "LaunchBackfillSuccess":
            raise SystemExit(f"the backfill was not launched: {launched}")
        id_, state = launched["backfillId"], {"status": "REQUESTED"}
        while state["status"] == "REQUESTED":
            time.sleep(2)
            state = ask(address, STATE, id=id_)
    runs = platform.history.get_runs(dg.RunsFilter(tags={"dagster/backfill": id_}))
    if state["status"] not in ("COMPLETED", "COMPLETED_SUCCESS") or any(not run.is_success for run in runs):
        raise SystemExit(f"the backfill ended as {state['status']}: {state.get('error')}")
    return len(runs)


def report(plan: Plan, truth: pd.DataFrame, reactions: pd.DataFrame) -> None:
    """Print the numbers."""
    print(scores(truth, reactions).to_string(float_format="{:.3f}".format))
    days = latencies(truth, reactions, plan).groupby("channel")[["from_detection", "from_explosion"]]
    print("days, median and largest:", days.agg(["count", "median", "max"]).round(2).to_string(), sep="\n")


def main() -> None:
    """Both passes, the comparison, and the plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".week"))
    parser.add_argument(
        "--objects", type=int, default=1400, help="slots of the simulated sky; 1400: 800 alerts a night"
    )
    parser.add_argument("--nights", type=int, default=len(NIGHTS), help="first nights of the week")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--plots", type=Path, help="folder for the plots; default: FOLDER/plots")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if folder.exists():
        raise SystemExit(f"{folder} is there already; name another folder, or remove it")
    plan = Plan(options.seed, options.objects, NIGHTS[: options.nights])
    os.environ |= {"AMPEL_INSTANCE": str(folder), "DAGSTER_HOME": str(folder), "DAGSTER_DISABLE_TELEMETRY": "yes"}
    try:
        with Receiver().listening() as receiver:
            write_instance(folder, plan, receiver)
            with dg.DagsterInstance.get() as history:
                compare(plan, Platform(folder, history), receiver, options.plots or folder / "plots")
    finally:
        EmbeddedServer(folder).stop()


def compare(plan: Plan, platform: Platform, receiver: Receiver, plots: Path) -> None:
    """Go through the week twice; end with an error where the second pass differs."""
    truth = truth_of(plan)
    truth.to_csv(platform.instance.folder / "truth.csv")
    print(f"truth: {truth.kind.value_counts().to_dict()}, {truth.n_alerts.sum()} alerts")
    for night in plan.nights:
        path = platform.land(plan, night)
        start = time.monotonic()
        platform.live_night(path)
        print(f"{night}: {time.monotonic() - start:.1f} s from packets to messages", flush=True)
    store = open_store(platform.instance.folder)
    reactions, documents, told = platform.reactions(), content(store), receiver.told()
    report(plan, truth, reactions)
    seconds = waits(store, told).groupby(told.process).agg(["count", "min", "median", "max"])
    print("seconds from an object's last T2 result to the message about it:", seconds.round(2).to_string(), sep="\n")
    draw(plots, plan, truth, reactions)

    # All that the platform knows is gone; what the survey has published is still there.
    store.drop()
    shutil.rmtree(platform.instance.reports)
    start = time.monotonic()
    runs = backfill(platform, plan.nights)
    print(
        f"deleted; one backfill of {len(platform.partitions(plan.nights))} partitions: {runs} runs, "
        f"{time.monotonic() - start:.0f} s with the start of the UI"
    )
    again, documents_again, told_again = platform.reactions(), content(store), receiver.told()[len(told) :]
    report(plan, truth, again)
    print("messages, live and then by the backfill:")
    print(pd.DataFrame({"live": told.process.value_counts(), "backfill": told_again.process.value_counts()}))
    print("documents:", {name: len(found) for name, found in documents.items()})
    more = {name: len(documents_again[name]) - len(found) for name, found in documents.items()}
    print("states and results besides, of what a channel knew before the next one had run:", more["t1"], more["t2"])
    store.close()
    lost = [name for name, found in documents.items() if not found.items() <= documents_again[name].items()]
    assert not lost, lost
    assert {name for name, number in more.items() if number} <= {"t1", "t2"}
    pd.testing.assert_frame_equal(again, reactions)
    assert set(told_again.process) == {"mirror"}
    print("the same documents, the same reactions; nothing was sent twice that should not be")


if __name__ == "__main__":
    main()
