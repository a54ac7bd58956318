"""T3: publishers and receivers that are busy, refuse, hang, or take half; what is told about, how often, how fast."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.errors import BusyError, RefusedError, SendError, UserError
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.pipeline.t3_react import react_to_night
from ampel_dagster.pipeline.t3_record import Reacted, Vault
from ampel_dagster.pipeline.t3_send import Sender
from ampel_dagster.units.base import BulkPublisher, Publisher
from ampel_dagster.units.bound import Process

NIGHT = "2018-08-19"
FAR = datetime(2200, 1, 1, tzinfo=UTC)
CONTEXT = ReactionContext("tell", "A", NIGHT, "run", FAR, Path("unused"))
Answer = Callable[[str, int], Any]


def letter(view: TransientView) -> str:
    return view.name[-1]


def publisher(answer: Answer, **config: Any) -> Any:
    """A publisher that asks `answer` (last letter of the name, number of the call) what the receiver says."""

    class Tell(Publisher):
        idempotent: ClassVar[bool] = config.pop("idempotent", False)
        calls: ClassVar[list[str]] = []

        def send(self, view: TransientView, context: ReactionContext) -> str:
            self.calls.append(letter(view))
            said = answer(letter(view), len(self.calls))
            if isinstance(said, Exception):
                raise said
            return str(said)

    return Tell(**config)


def bulk(answer: Callable[[str, int], Any], **config: Any) -> Any:
    """The same for one that tells about many at once; `answer` gets all letters, and answers for each of them."""

    class TellAll(BulkPublisher):
        idempotent: ClassVar[bool] = config.pop("idempotent", False)
        calls: ClassVar[list[str]] = []

        def send_many(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[int, str | SendError]:
            self.calls.append("".join(map(letter, views)))
            said = answer(self.calls[-1], len(self.calls))
            if isinstance(said, Exception):
                raise said
            return {view.stock: said[letter(view)] for view in views if letter(view) in said}

    return TellAll(**config)


@pytest.fixture
def tell(world: Any) -> Callable[..., Any]:
    """Ingest objects a, b, c … once, then react: returns what was done."""
    rules = world.rules("A", reactions=("tell",))

    def react(unit: Any, number: int = 3, **more: Any) -> Any:
        if number:
            world.ingest(rules, *(world.star(n) for n in range(number)))
        found = world.react(Process("tell", (unit,)), rules, **more)
        return found[0] if found else None

    return react


def states(world: Any) -> dict[str, str]:
    return {d["name"][-1]: d["state"] for d in world.store.outbox.list("tell")}


# --- busy, refused


def test_a_busy_receiver_is_tried_again_after_pauses_that_grow(world: Any, tell: Any) -> None:
    unit = publisher(lambda _, call: BusyError("503") if call < 3 else "ok")
    done = tell(unit, 1)
    assert (unit.calls, done.counts["reacted"], states(world)) == (["a"] * 3, 1, {"a": "confirmed"})
    first, second = world.pauses
    # One and two seconds, each between half and one and a half times as long.
    assert 0.5 <= first <= 1.5
    assert 1.0 <= second <= 3.0


def test_a_receiver_that_says_how_long_is_given_that_time(world: Any, tell: Any) -> None:
    unit = publisher(lambda _, call: BusyError("429", 30.0) if call == 1 else "ok")
    assert tell(unit, 1).counts["reacted"] == 1
    assert world.pauses == [30.0]


def test_a_receiver_that_stays_busy_is_left_to_the_next_run(world: Any, tell: Any) -> None:
    """Nothing arrived, so nothing is unknown; and the others need not find out one by one."""
    unit = publisher(lambda _, call: BusyError("503 at noon") if call <= 3 else "ok")
    done = tell(unit)
    assert unit.calls == ["a"] * 3
    assert (done.counts["failed"], done.counts["waiting"], done.counts["reacted"]) == (1, 2, 0)
    told = {message for _, message in done.failures}
    assert told == {"503 at noon", "2 objects wait: the receiver cannot take more now"}
    assert states(world) == {"a": "waiting"}
    done = tell(unit, 0)
    assert (done.counts["reacted"], unit.calls[3:]) == (3, ["a", "b", "c"])
    assert states(world) == dict.fromkeys("abc", "confirmed")
    assert tell(unit, 0) is None


def test_nobody_waits_for_hours_within_a_run(world: Any, tell: Any) -> None:
    unit = publisher(lambda *_: BusyError("429", 3600.0))
    assert tell(unit, 1).counts["failed"] == 1
    assert (unit.calls, world.pauses, states(world)) == (["a"], [], {"a": "waiting"})


def test_what_is_refused_is_not_tried_again(world: Any, tell: Any) -> None:
    unit = publisher(lambda name, _: RefusedError("malformed") if name == "b" else "ok")
    done = tell(unit)
    assert (done.counts["reacted"], done.counts["failed"]) == (2, 1)
    assert states(world) == {"a": "confirmed", "b": "refused", "c": "confirmed"}
    done = tell(unit, 0)
    assert (done.counts["refused"], done.counts["skipped"], len(done.failures)) == (1, 2, 0)
    assert unit.calls == ["a", "b", "c"]


def test_a_wrong_token_does_not_use_up_the_night(world: Any, tell: Any) -> None:
    """After three failures in a row the rest waits, and is told about when the token is right."""
    unit = publisher(lambda _, call: RefusedError("invalid_auth") if call <= 3 else "ok")
    done = tell(unit, 8)
    assert (unit.calls, done.counts["waiting"]) == (["a", "b", "c"], 5)
    done = tell(unit, 0)
    assert (done.counts["reacted"], done.counts["refused"]) == (5, 3)
    # What was refused for want of a token is sent again where somebody says so.
    refused = [d["_id"] for d in world.store.outbox.list("tell", "refused")]
    assert world.store.outbox.resend(refused) == 3
    assert react_to_night(world.reaction(Process("tell", (unit,)), world.rules("A")), NIGHT).counts["reacted"] == 3
    assert sorted(unit.calls[3:]) == list("abcdefgh")


def test_a_secret_that_is_missing_costs_nothing(world: Any, tell: Any) -> None:
    unit = publisher(lambda _, call: UserError("there is no secret SLACK") if call == 1 else "ok")
    done = tell(unit)
    assert {message for _, message in done.failures} >= {"there is no secret SLACK"}
    assert (unit.calls, states(world)) == (["a"], {"a": "waiting"})
    assert tell(unit, 0).counts["reacted"] == 3


# --- unknown


def test_a_publisher_that_hangs_is_left_alone(world: Any, tell: Any) -> None:
    never = Event()
    unit = publisher(lambda name, _: never.wait() if name == "a" else "ok", timeout_s=0.01)
    done = tell(unit, 2)
    never.set()
    assert dict(done.failures) == {("Tell", "did not come back within 0.2 s"): 1}
    assert states(world) == {"a": "unknown", "b": "confirmed"}


def test_a_publisher_that_wants_to_exit_ends_nothing(world: Any, tell: Any, recwarn: pytest.WarningsRecorder) -> None:
    class Exit(Publisher):
        def send(self, view: TransientView, context: ReactionContext) -> str:
            raise SystemExit(1)

    done = tell(Exit(), 1)
    assert dict(done.failures) == {("Exit", "ended without an answer"): 1}
    assert states(world) == {"a": "unknown"}


def test_an_error_is_tried_again_at_once_only_where_that_is_harmless(world: Any, tell: Any) -> None:
    unit = publisher(lambda _, call: TimeoutError("no answer") if call == 1 else "ok", idempotent=True)
    assert tell(unit, 1).counts["reacted"] == 1
    assert unit.calls == ["a", "a"]


def test_after_three_errors_in_a_row_the_rest_waits(world: Any, tell: Any) -> None:
    unit = publisher(lambda _, call: TimeoutError("no answer") if call <= 3 else "ok")
    done = tell(unit, 5)
    assert (done.counts["failed"], done.counts["waiting"]) == (3, 2)
    assert states(world) == dict.fromkeys("abc", "unknown")
    done = tell(unit, 0)
    assert (done.counts["unknown"], done.counts["reacted"]) == (3, 2)


def test_what_another_run_is_at_is_neither_sent_nor_forgotten(world: Any, tell: Any) -> None:
    unit = publisher(lambda *_: "ok")
    tell(unit)
    mine = {"name": {"$regex": "b$"}}
    world.store.outbox.collection.update_one(mine, {"$set": {"state": "reserved", "until": FAR}})
    rules = world.rules("A", reactions=("tell",))
    world.ingest(rules, world.star(3))
    process = Process("tell", (unit,))
    (done,) = world.react(process, rules)
    assert (done.counts["elsewhere"], done.counts["reacted"]) == (0, 1)  # only d is new
    done = react_to_night(world.reaction(process, rules), NIGHT)
    assert (done.counts["elsewhere"], done.counts["skipped"]) == (1, 3)
    assert len(done.deferred) == 1
    assert unit.calls == ["a", "b", "c", "d"]


# --- in bulk


def test_bulk_is_sent_in_batches_and_answers_are_kept_by_object(world: Any, tell: Any) -> None:
    unit = bulk(lambda letters, _: {name: f"got {name}" for name in letters}, batch=2)
    assert tell(unit, 5).counts["reacted"] == 5
    assert unit.calls == ["ab", "cd", "e"]
    answers = {d["name"][-1]: d["receipt"]["answer"] for d in world.store.outbox.list("tell")}
    assert answers == {name: f"got {name}" for name in "abcde"}


def test_half_accepted_bulk(world: Any, tell: Any) -> None:
    """One is taken, one refused, one comes too early, and one is not mentioned."""
    first = {"a": "ok", "b": RefusedError("duplicate"), "c": BusyError("later")}
    unit = bulk(lambda letters, call: first if call == 1 else dict.fromkeys(letters, "ok"))
    done = tell(unit, 4)
    assert unit.calls == ["abcd", "c"]
    assert states(world) == {"a": "confirmed", "b": "refused", "c": "confirmed", "d": "unknown"}
    assert (done.counts["reacted"], done.counts["failed"]) == (2, 2)


def test_bulk_that_raises_is_unknown_as_a_whole(world: Any, tell: Any) -> None:
    unit = bulk(lambda *_: TimeoutError("no answer"))
    assert tell(unit).counts["failed"] == 3
    assert states(world) == dict.fromkeys("abc", "unknown")


def test_bulk_publisher_can_tell_about_one(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, world.star(0))
    (view,) = world.views(rules, NIGHT)
    assert bulk(lambda *_: {"a": "ok"}).send(view, CONTEXT) == "ok"
    with pytest.raises(RefusedError, match="no"):
        bulk(lambda *_: {"a": RefusedError("no")}).send(view, CONTEXT)
    with pytest.raises(LookupError):
        bulk(lambda *_: {}).send(view, CONTEXT)


# --- how often, how many, how fast


def test_once_per_object_whatever_its_states(world: Any, tell: Any) -> None:
    each, once = publisher(lambda *_: "ok"), publisher(lambda *_: "ok", once_per="object")
    rules = world.rules("A", reactions=("each", "once"))
    for jd in (world.jd(0), world.jd(0.1), world.jd(1)):
        world.ingest(rules, world.star(0, jd))
        for name, unit in (("each", each), ("once", once)):
            world.react(Process(name, (unit,)), rules)
    assert (each.calls, once.calls) == (["a"] * 3, ["a"])
    (told,) = world.store.outbox.list("once")
    assert told["link"] == world.views(rules, NIGHT)[0].states[0]


def test_a_run_that_would_tell_too_much_tells_nothing(world: Any, tell: Any) -> None:
    unit = publisher(lambda *_: "ok", max_per_run=4)
    done = tell(unit, 5)
    assert dict(done.failures) == {("Tell", "5 objects, and max_per_run is 4: told about none of them"): 1}
    assert (unit.calls, done.counts["held"], states(world)) == ([], 5, {})
    # They stay new: with another limit they are told about.
    unit = publisher(lambda *_: "ok", max_per_run=5)
    assert tell(unit, 0).counts["reacted"] == 5


def test_what_was_told_before_does_not_count_for_the_limit(world: Any, tell: Any) -> None:
    unit = publisher(lambda *_: "ok", max_per_run=3)
    assert tell(unit, 3).counts["reacted"] == 3
    rules = world.rules("A", reactions=("tell",))
    world.ingest(rules, *(world.star(n) for n in range(3, 6)))
    (done,) = world.react(Process("tell", (unit,)), rules)
    assert (done.counts["skipped"], done.counts["reacted"]) == (0, 3)


def test_the_limit_is_for_all_nights_of_a_run(world: Any) -> None:
    unit = publisher(lambda *_: "ok", max_per_run=3)
    rules = world.rules("A", reactions=("tell",))
    world.ingest(rules, *(world.star(n) for n in range(2)), *(world.star(n, world.jd(1)) for n in range(2, 4)))
    first, second = world.react(Process("tell", (unit,)), rules)
    assert (first.counts["reacted"], second.counts["held"]) == (2, 2)
    assert {message for _, message in second.failures} == {
        "2 objects after 2 before, and max_per_run is 3: told about none of them"
    }


def test_no_faster_than_allowed(world: Any) -> None:
    """Six a minute: ten seconds from one to the next, less the time that went by anyhow."""
    rules = world.rules("A")
    world.ingest(rules, *(world.star(n) for n in range(3)))
    unit = publisher(lambda *_: "ok", max_per_minute=6)
    reaction = world.reaction(Process("tell", (unit,)), rules)
    sender = Sender(reaction, unit, CONTEXT, Reacted("A", NIGHT), Vault(reaction.secret))
    times = iter((100.0, 104.0, 125.0))
    sender.clock = lambda: next(times)
    for _ in range(3):
        sender._keep_pace()
    assert world.pauses == [6.0]


# --- what would be sent


def test_dry_run_sends_and_writes_nothing(world: Any, tell: Any) -> None:
    unit = publisher(lambda *_: "ok")
    rules = world.rules("A", reactions=("tell",))
    world.ingest(rules, world.star(0), world.star(1))
    before = world.store.database.list_collection_names(), world.store.journal.collection.count_documents({})
    done = react_to_night(world.reaction(Process("tell", (unit,)), rules, dry_run=True), NIGHT)
    assert json.loads(done.previews["Tell"]) == ["ZTF18aaaaaaa", "ZTF18aaaaaab"]
    assert (unit.calls, states(world)) == ([], {})
    assert before == (
        world.store.database.list_collection_names(),
        world.store.journal.collection.count_documents({}),
    )
    assert tell(unit, 0).counts["reacted"] == 2
    done = react_to_night(world.reaction(Process("tell", (unit,)), rules, dry_run=True), NIGHT)
    assert json.loads(done.previews["Tell"]) == []


# --- secrets


def test_secrets_are_in_no_document(world: Any, tell: Any) -> None:
    secret = "s3cr3t/token+value"
    said: dict[str, Any] = {"a": f"ok, {secret}", "b": TimeoutError("https://x/?t=s3cr3t%2Ftoken%2Bvalue")}

    class Leaky(Publisher):
        def send(self, view: TransientView, context: ReactionContext) -> str:
            token = context.secret("SLACK")
            context.add(view, journal={"by": [f"token {token}"]}, tags=[token])
            if letter(view) == "c":
                raise RefusedError("x" * 985 + token)
            answer = said[letter(view)]
            if isinstance(answer, Exception):
                raise answer
            return str(answer)

    done = tell(Leaky(), secret={"SLACK": secret}.__getitem__)
    assert done.counts["reacted"] == 1
    everything = "".join(
        str(d) for name in world.store.database.list_collection_names() for d in world.store.database[name].find()
    )
    assert "<SLACK>" in everything
    for trace in (secret, "s3cr3t", "token%2Bvalue"):
        assert trace not in everything + str(done)
