"""T3: what is sent outside arrives once, whatever dies on the way; the outbox says what is known of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import pytest

from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.pipeline.t3_react import react_to_night, react_to_updates
from ampel_dagster.pipeline.t3_record import Reaction
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import Publisher, Report
from ampel_dagster.units.bound import Process

NIGHT = "2018-08-19"


def post(url: str, view: TransientView, context: ReactionContext) -> str:
    message = {"name": view.name, "link": view.link, "channel": view.channel, "process": context.process}
    with urlopen(Request(url, json.dumps(message).encode()), timeout=10) as answer:
        return str(answer.read().decode())


class Post(Publisher):
    url: str

    def send(self, view: TransientView, context: ReactionContext) -> str:
        return post(self.url, view, context)


class KeyedPost(Post):
    """The receiver knows a message again by its key."""

    idempotent: ClassVar[bool] = True


def rules_for(world: Any, channel: str, *processes: str) -> Any:
    return world.rules(channel, reactions=processes or ("tell",))


def states(world: Any, process: str = "tell", channel: str = "A") -> dict[str, int]:
    return dict(world.store.outbox.count_by_state(process, channel))


def test_object_is_told_about_once_in_each_state(world: Any, receiver: Any) -> None:
    rules, process = rules_for(world, "A"), Process("tell", (Post(url=receiver.url),))
    world.ingest(rules, world.star(0), world.star(1))
    (done,) = world.react(process, rules, run="run 1")
    assert done.counts["reacted"] == 2
    done = react_to_night(world.reaction(process, rules), NIGHT)  # asked for again, by hand
    assert (done.counts["reacted"], done.counts["skipped"]) == (0, 2)
    assert receiver.names() == ["ZTF18aaaaaaa", "ZTF18aaaaaab"]
    world.ingest(rules, world.star(0, world.jd(0.1)))  # one more point: another state
    world.react(process, rules)
    assert receiver.names()[2:] == ["ZTF18aaaaaaa"]
    assert len({message["link"] for message in receiver.messages}) == 3
    sent = world.store.outbox.list("tell")
    assert sorted(d["receipt"]["answer"] for d in sent) == ["number 1", "number 2", "number 3"]
    assert {(d["unit"], d["channel"], d["state"]) for d in sent} == {("Post", "A", "confirmed")}
    assert {d["meta"]["run"] for d in sent} == {"run 1", "t3"}


def test_each_channel_process_and_unit_tells_for_itself(world: Any, receiver: Any) -> None:
    a, b = rules_for(world, "A", "tell", "also"), rules_for(world, "B")
    tell = Process("tell", (Post(url=receiver.url), KeyedPost(url=receiver.url)))
    also = Process("also", (Post(url=receiver.url),))
    world.ingest([a, b], world.star(0))
    for process, rules in ((tell, a), (also, a), (tell, b)):
        world.react(process, rules)
        react_to_night(world.reaction(process, rules), NIGHT)
    who = sorted((message["process"], message["channel"]) for message in receiver.messages)
    assert who == [("also", "A"), ("tell", "A"), ("tell", "A"), ("tell", "B"), ("tell", "B")]
    assert world.store.outbox.count() == {"also": 1, "tell": 4}
    stock = world.instrument.stock_id("ZTF18aaaaaaa")
    assert len(world.store.outbox.of_stock("ztf", stock)) == 5


def test_journal_says_what_was_sent(world: Any, receiver: Any) -> None:
    rules, process = rules_for(world, "A"), Process("tell", (Post(url=receiver.url),))
    world.ingest(rules, world.star(0))
    for run in ("first", "second"):
        react_to_night(world.reaction(process, rules, run=run), NIGHT)
    entries = world.store.journal.of_stock("ztf", world.instrument.stock_id("ZTF18aaaaaaa"))
    told = [(e["run"], e["process"], e["unit"], e["channel"]) for e in entries if e["tier"] == 3]
    assert told == [("first", "tell", "Post", ["A"])]


def test_two_runs_at_once_tell_once(world: Any, mongo_uri: str, receiver: Any) -> None:
    rules, process = rules_for(world, "A"), Process("tell", (Post(url=receiver.url),))
    world.ingest(rules, *(world.star(n) for n in range(20)))
    start = Barrier(2)

    def react(run: str) -> None:
        store = Store.open(mongo_uri, world.store.database.name)
        start.wait()
        react_to_updates(Reaction(store, world.instrument, process, rules, RunInfo(run, 1), world.reports))
        store.close()

    with ThreadPoolExecutor(2) as both:
        list(both.map(react, ("one", "two")))
    assert sorted(receiver.names()) == [f"ZTF18aaaaaa{chr(97 + n)}" for n in range(20)]
    assert states(world) == {"confirmed": 20}


# --- what dies on the way


_WORKER = """
import json, os, signal, sys
from pathlib import Path
from urllib.request import Request, urlopen
from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.t3_react import react_to_updates
from ampel_dagster.pipeline.t3_record import Reaction
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import Publisher
from ampel_dagster.units.bound import ChannelRules, Process
from ampel_dagster.units.t1.simple import SimpleCombiner

uri, name, url, unit, when = sys.argv[1:]

class Post(Publisher):
    url: str
    def send(self, view, context):
        if view.name.endswith("b") and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        message = {"name": view.name, "link": view.link, "channel": view.channel, "process": context.process}
        with urlopen(Request(self.url, json.dumps(message).encode()), timeout=10) as answer:
            answer.read()
        if view.name.endswith("b"):
            os.kill(os.getpid(), signal.SIGKILL)
        return "sent"

class KeyedPost(Post):
    pass

rules = ChannelRules.make(
    "A", "ztf", filter=None, known_stocks="filter", access=frozenset({"ZTF", "ZTF_PUB"}),
    combiner=SimpleCombiner(), requests=(), reactions=("tell",),
)
process = Process("tell", ({"Post": Post, "KeyedPost": KeyedPost}[unit](url=url),))
react_to_updates(Reaction(Store.open(uri, name), ZTF(), process, rules, RunInfo("dead", 1), Path("unused")))
"""


def die(world: Any, mongo_uri: str, folder: Path, receiver: Any, unit: str, when: str) -> None:
    """A run tells of the first of three objects, and is killed with the second: before or after it is sent."""
    script = folder / "worker.py"
    script.write_text(_WORKER)
    command = [sys.executable, str(script), mongo_uri, world.store.database.name, receiver.url, unit, when]
    dead = subprocess.run(command, capture_output=True, text=True)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert receiver.names() == ["ZTF18aaaaaaa"] + (["ZTF18aaaaaab"] if when == "after" else [])


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_run_left_is_unknown_and_not_sent_again(
    world: Any, mongo_uri: str, tmp_path: Path, receiver: Any, when: str
) -> None:
    rules, process = rules_for(world, "A"), Process("tell", (Post(url=receiver.url),))
    world.ingest(rules, *(world.star(n) for n in range(3)))
    die(world, mongo_uri, tmp_path, receiver, "Post", when)
    before = receiver.names()
    # For all that is known, the run is still at it: the others are told about, and this one is looked at again.
    (done,) = world.react(process, rules)
    assert (done.counts["elsewhere"], done.counts["skipped"], done.counts["reacted"]) == (1, 1, 1)
    assert receiver.names() == [*before, "ZTF18aaaaaac"]
    assert states(world) == {"confirmed": 2, "reserved": 1}
    world.let_reservations_end()
    (done,) = world.react(process, rules)
    assert (done.counts["unknown"], done.counts["skipped"], done.counts["reacted"]) == (1, 2, 0)
    assert receiver.names() == [*before, "ZTF18aaaaaac"]
    assert states(world) == {"confirmed": 2, "unknown": 1}
    (held,) = world.store.outbox.list("tell", "unknown")
    assert (held["name"], held["meta"]["run"]) == ("ZTF18aaaaaab", "dead")
    # It stays so, and nothing is left to be done.
    assert world.react(process, rules) == []
    assert react_to_night(world.reaction(process, rules), NIGHT).counts["unknown"] == 1
    assert receiver.names() == [*before, "ZTF18aaaaaac"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_run_left_is_sent_again_where_that_is_harmless(
    world: Any, mongo_uri: str, tmp_path: Path, receiver: Any, when: str
) -> None:
    rules, process = rules_for(world, "A"), Process("tell", (KeyedPost(url=receiver.url),))
    world.ingest(rules, *(world.star(n) for n in range(3)))
    die(world, mongo_uri, tmp_path, receiver, "KeyedPost", when)
    world.let_reservations_end()
    before = receiver.names()
    (done,) = world.react(process, rules)
    assert (done.counts["skipped"], done.counts["reacted"]) == (1, 2)
    assert receiver.names() == [*before, "ZTF18aaaaaab", "ZTF18aaaaaac"]
    assert states(world) == {"confirmed": 3}


# --- what fails


def test_exception_while_sending_is_unknown_and_counted(world: Any, receiver: Any) -> None:
    class Moody(Publisher):
        url: str
        calls: ClassVar[list[str]] = []

        def send(self, view: TransientView, context: ReactionContext) -> str:
            self.calls.append(view.name)
            if view.name.endswith("b"):
                raise TimeoutError("no answer")
            return post(self.url, view, context)

    rules, process = rules_for(world, "A"), Process("tell", (Moody(url=receiver.url),))
    world.ingest(rules, *(world.star(n) for n in range(3)))
    (done,) = world.react(process, rules)
    assert (done.counts["reacted"], done.counts["failed"]) == (2, 1)
    assert dict(done.failures) == {("Moody", "TimeoutError: no answer"): 1}
    assert states(world) == {"confirmed": 2, "unknown": 1}
    (held,) = world.store.outbox.list("tell", "unknown")
    assert (held["name"], held["error"]) == ("ZTF18aaaaaab", "TimeoutError: no answer")
    (done,) = world.react(process, rules)
    assert (done.counts["unknown"], done.counts["skipped"], len(done.failures)) == (1, 2, 0)
    assert Moody.calls.count("ZTF18aaaaaab") == 1
    assert world.react(process, rules) == []
    assert receiver.names() == ["ZTF18aaaaaaa", "ZTF18aaaaaac"]


def test_exception_while_sending_is_repeated_where_that_is_harmless(world: Any, receiver: Any) -> None:
    class Recovering(KeyedPost):
        calls: ClassVar[list[str]] = []

        def send(self, view: TransientView, context: ReactionContext) -> str:
            self.calls.append(view.name)
            if len(self.calls) == 1:
                raise TimeoutError("no answer")
            return super().send(view, context)

    rules, process = rules_for(world, "A"), Process("tell", (Recovering(url=receiver.url),))
    world.ingest(rules, world.star(0))
    for _ in range(3):
        world.react(process, rules)
    assert receiver.names() == ["ZTF18aaaaaaa"]
    assert states(world) == {"confirmed": 1}
    (document,) = world.store.outbox.list("tell")
    assert "error" not in document


@pytest.mark.parametrize("answer", [None, {"id": object()}, 7, "\ud800"])
def test_answer_of_any_kind_confirms(world: Any, answer: Any) -> None:
    class Odd(Publisher):
        def send(self, view: TransientView, context: ReactionContext) -> str:
            return answer  # type: ignore[no-any-return]

    rules, process = rules_for(world, "A"), Process("tell", (Odd(),))
    world.ingest(rules, world.star(0))
    (done,) = world.react(process, rules)
    assert (done.counts["reacted"], states(world)) == (1, {"confirmed": 1})


# --- reports


class Table(Report):
    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        path = context.folder / f"{context.run}.txt"
        path.write_text(" ".join(view.name for view in views))
        return [Artefact(path, "Table", len(views))]


def test_reports_are_written_again_and_counted_once(world: Any) -> None:
    rules, process = rules_for(world, "A"), Process("tell", (Table(),))
    world.ingest(rules, world.star(0), world.star(1))
    for run in ("first", "second"):
        done = react_to_night(world.reaction(process, rules, run=run), NIGHT)
        assert done.counts["reacted"] == 2
        assert done.artefacts[0].path.read_text() == "ZTF18aaaaaaa ZTF18aaaaaab"
    documents = world.store.outbox.list("tell")
    assert len(documents) == 2
    newest = str(world.reports / "tell" / "A" / NIGHT / "second.txt")
    assert all((d["state"], d["receipt"]["files"]) == ("confirmed", [newest]) for d in documents)
