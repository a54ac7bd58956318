"""T3: objects that go to Kafka arrive once, by the rules of the outbox, whatever the broker does; VOEvents too."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from io import BytesIO
from typing import Any

import fastavro
import pytest
from astropy.time import Time

from ampel_dagster.pipeline.t3_react import react_again, react_to_night
from ampel_dagster.units.bound import Process
from ampel_dagster.units.t3.gcn_notice import GcnNotice
from ampel_dagster.units.t3.kafka_publisher import KafkaPublisher
from ampel_dagster.units.t3.voevent import VOEvent
from tests.kafka_broker import Broker, closed_port, line
from tests.units.t3.receivers import Network, voevent_network

WHO: dict[str, Any] = {"stream": "ivo://org.example/t", "author": "ivo://org.example", "position_error_arcsec": 1}
NO_VOEVENT = "voevent-parse cannot be built on Python 3.12, whose library lacks what its setup asks for"
NAMES = ["ZTF18aaaaaaa", "ZTF18aaaaaab", "ZTF18aaaaaac"]


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


@pytest.fixture
def rules(lab: Any) -> Any:
    """A channel with three objects that nobody has been told about."""
    rules = lab.rules("A", reactions=("tell",))
    lab.ingest(rules, *(lab.star(n) for n in range(3)))
    return rules


def tell(brokers: list[str], topic: str, **more: Any) -> Process:
    return Process("tell", (KafkaPublisher(brokers=brokers, topic=topic, timeout_s=0.5, attempts=1, **more),))


def keys(broker: Broker, topic: str) -> list[str]:
    return sorted((message.key() or b"").decode() for message in broker.messages(topic))


def states(lab: Any) -> list[str]:
    return [d["state"] for d in lab.store.outbox.list("tell")]


def test_broker_that_was_away_gets_each_object_once(lab: Any, rules: Any, broker: Broker) -> None:
    (done,) = lab.react(tell([closed_port()], "away"), rules)
    assert (done.counts["reacted"], states(lab)) == (0, ["waiting"] * 3)
    there = tell(broker.brokers, "away")
    (done,) = lab.react(there, rules)
    assert (done.counts["reacted"], states(lab)) == (3, ["confirmed"] * 3)
    assert keys(broker, "away") == NAMES
    assert {d["receipt"]["answer"].split("/")[0] for d in lab.store.outbox.list("tell")} == {"away"}
    assert lab.react(there, rules) == []
    react_to_night(lab.reaction(there, rules), "2018-08-19")
    assert keys(broker, "away") == NAMES


def test_what_arrived_and_was_not_confirmed_is_not_sent_again(lab: Any, rules: Any, broker: Broker) -> None:
    with line(broker) as to:
        to.fault = "lost answer"
        (done,) = lab.react(tell(to.brokers, "lost"), rules)
        assert (done.counts["failed"], states(lab)) == (3, ["unknown"] * 3)
        assert {m.split(":")[0] for _, m in done.failures} == {"TimeoutError"}
        to.fault = ""
        (done,) = lab.react(tell(to.brokers, "lost"), rules)
    assert (done.counts["unknown"], done.counts["reacted"]) == (3, 0)
    assert keys(broker, "lost") == NAMES


def test_what_did_not_arrive_and_is_unknown_is_sent_when_somebody_asks(lab: Any, rules: Any, broker: Broker) -> None:
    with line(broker) as to:
        to.fault = "cut"
        lab.react(tell(to.brokers, "cut"), rules)
        assert (states(lab), keys(broker, "cut")) == (["unknown"] * 3, [])
        to.fault = ""
        react_again(lab.reaction(tell(to.brokers, "cut"), rules), lab.store.outbox.list("tell"))
    assert (states(lab), keys(broker, "cut")) == (["confirmed"] * 3, NAMES)


def test_dry_run_and_rate_guard_send_nothing(lab: Any, rules: Any, broker: Broker) -> None:
    held = tell(broker.brokers, "quiet", max_per_run=2)
    (done,) = lab.react(held, rules, dry_run=True)
    assert [line.count('"stock"') for line in done.previews["KafkaPublisher"].splitlines()] == [1, 1, 1]
    (done,) = lab.react(held, rules)
    assert (done.counts["held"], keys(broker, "quiet")) == (3, [])


def test_pace_counts_messages(lab: Any, rules: Any, broker: Broker) -> None:
    """One after the other, though one connection would do for all of them: two pauses between three."""
    (done,) = lab.react(tell(broker.brokers, "slowly", max_per_minute=6), rules)
    assert (done.counts["reacted"], len(lab.pauses)) == (3, 2)


def test_event_whose_ack_was_lost_is_handed_over_again_and_the_broker_knows_it(lab: Any, rules: Any) -> None:
    voeventparse = pytest.importorskip("voeventparse", reason=NO_VOEVENT)
    with voevent_network() as network:
        network.fault = "hang up"
        process = events(network)
        (done,) = lab.react(process, rules)
        assert (done.counts["failed"], states(lab), len(network.events)) == (3, ["unknown"] * 3, 3)
        network.fault = ""
        (done,) = lab.react(process, rules)
    assert (done.counts["reacted"], states(lab)) == (3, ["confirmed"] * 3)
    assert len({voeventparse.loads(event).get("ivorn") for event in network.events}) == 3
    assert len(network.events) == 3  # the same bytes, though it was later
    assert len(list(lab.reports.rglob("voevents/*.xml"))) == 3


# --- a VOEvent cites the one before


def events(network: Network, **more: Any) -> Process:
    """A process that hands VOEvents to a broker."""
    unit = VOEvent(**WHO, broker=network.address, timeout_s=5, attempts=1, **more)
    return Process("tell", (unit,))


def again(lab: Any, rules: Any, day: float = 1) -> None:
    """The first object is seen again so many days later: another state."""
    lab.ingest(rules, lab.star(0, lab.jd(day)))


def cited(event: bytes) -> tuple[str, list[tuple[str, str]]]:
    """The id of a valid event, and what it cites, how."""
    voeventparse = pytest.importorskip("voeventparse", reason=NO_VOEVENT)
    found = voeventparse.loads(event)
    assert voeventparse.valid_as_v2_0(found)
    cites = found.find("Citations")
    return found.get("ivorn"), [] if cites is None else [(str(c), c.get("cite")) for c in cites.EventIVORN]


@pytest.fixture
def one(lab: Any) -> Any:
    """A channel with one object that nobody has been told about."""
    rules = lab.rules("A", reactions=("tell", "also"))
    lab.ingest(rules, lab.star(0))
    return rules


@pytest.fixture
def network() -> Iterator[Network]:
    with voevent_network() as found:
        yield found


@pytest.mark.parametrize("days", [0.1, 1])
def test_each_event_cites_the_one_before(lab: Any, one: Any, network: Network, days: float) -> None:
    for number in (1, 2, 3):
        lab.react(events(network), one)
        again(lab, one, number * days)
    (first, nothing), (second, of_first), (third, of_second) = map(cited, network.events)
    assert len({first, second, third}) == 3
    assert (nothing, of_first, of_second) == ([], [(first, "followup")], [(second, "followup")])
    kept = {d["message"]["key"]: d["message"]["before"] for d in lab.store.outbox.list("tell")}
    assert kept == {first: "", second: first, third: second}


def test_other_processes_channels_and_dry_runs_are_not_cited(lab: Any, one: Any, network: Network) -> None:
    other = lab.rules("B", reactions=("tell",))
    lab.ingest(other, lab.star(0))
    lab.react(events(network), other)
    lab.react(replace(events(network), name="also"), one)
    lab.react(events(network), one, dry_run=True)
    again(lab, one)
    (done,) = [d for d in lab.react(events(network), one, dry_run=True) if d.night == "2018-08-20"]
    assert "Citations" not in done.previews["VOEvent"]
    react_to_night(lab.reaction(events(network), one), "2018-08-20")
    assert [cites for _, cites in map(cited, network.events)] == [[]] * 3


def test_dry_run_shows_what_would_be_cited_and_keeps_nothing(lab: Any, one: Any, network: Network) -> None:
    lab.react(events(network), one)
    again(lab, one)
    before = lab.raw()["t3"]
    (done,) = lab.react(events(network), one, dry_run=True)
    ((first, _),) = map(cited, network.events)
    assert cited(done.previews["VOEvent"].encode())[1] == [(first, "followup")]
    assert lab.raw()["t3"] == before


def test_event_that_is_made_again_cites_what_it_cited(lab: Any, one: Any, network: Network) -> None:
    """The first may have arrived or not when the second goes out, so that this cites none; and it stays so."""
    network.fault = "hang up"
    lab.react(events(network), one)
    again(lab, one)
    (_, done) = lab.react(events(network), one)
    assert (done.night, done.counts["failed"]) == ("2018-08-20", 1)
    lab.react(Process("tell", (VOEvent(**WHO, broker=closed_port(), attempts=1),)), one)
    assert states(lab) == ["waiting"] * 2  # the last try did not arrive; the ones before it may have
    network.fault = ""
    lab.react(events(network), one)  # the first is confirmed before the second is handed over again
    assert states(lab) == ["confirmed"] * 2
    assert [cites for _, cites in map(cited, network.events)] == [[], []]
    again(lab, one, 2)
    lab.react(events(network), one)
    (_, second, third) = map(cited, network.events)
    assert third[1] == [(second[0], "followup")]


_WORKER = """
import os, signal, sys
from pathlib import Path
from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.t3_react import react_to_night
from ampel_dagster.pipeline.t3_record import Reaction
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import ChannelRules, Process
from ampel_dagster.units.t1.simple import SimpleCombiner
from ampel_dagster.units.t3.voevent import VOEvent as Whole

uri, name, broker, reports = sys.argv[1:]

class VOEvent(Whole):
    def send(self, view, context):
        super().send(view, context)
        os.kill(os.getpid(), signal.SIGKILL)

rules = ChannelRules.make(
    "A", "ztf", filter=None, known_stocks="filter", access=frozenset({"ZTF", "ZTF_PUB"}),
    combiner=SimpleCombiner(), requests=(), reactions=("tell", "also"),
)
who = {"stream": "ivo://org.example/t", "author": "ivo://org.example", "position_error_arcsec": 1}
process = Process("tell", (VOEvent(**who, broker=broker),))
store = Store.open(uri, name)
react_to_night(Reaction(store, ZTF(), process, rules, RunInfo("dead", 1), Path(reports)), "2018-08-20")
"""


def test_event_of_a_killed_run_is_the_same_when_it_is_sent_again(
    lab: Any, one: Any, network: Network, mongo_uri: str
) -> None:
    network.fault = "hang up"
    lab.react(events(network), one)
    again(lab, one)
    network.fault = ""
    where = [mongo_uri, lab.store.database.name, network.address, str(lab.reports)]
    dead = subprocess.run([sys.executable, "-c", _WORKER, *where], capture_output=True, text=True)
    assert (dead.returncode, len(network.events)) == (-signal.SIGKILL, 2), dead.stderr
    (file,) = lab.reports.rglob("2018-08-20/voevents/*.xml")
    before = file.read_bytes()
    lab.let_reservations_end()
    lab.react(events(network), one)  # the first is confirmed now, and could be cited
    assert states(lab) == ["confirmed"] * 2
    assert file.read_bytes() == before == network.events[1]
    assert len(network.events) == 2
    answers = [d["receipt"]["answer"] for d in lab.store.outbox.list("tell")]
    assert ["Previously seen" in answer for answer in answers] == [True, True]


def test_events_that_waited_for_their_broker_cite_each_other(lab: Any, one: Any, network: Network) -> None:
    away = Process("tell", (VOEvent(**WHO, broker=closed_port(), attempts=1),))
    lab.react(away, one)
    again(lab, one)
    lab.react(away, one)
    assert states(lab) == ["waiting"] * 2
    assert not any("message" in d for d in lab.store.outbox.list("tell"))
    lab.react(events(network), one)
    (first, nothing), (_, of_first) = map(cited, network.events)
    assert (nothing, of_first) == ([], [(first, "followup")])


def test_event_that_is_sent_again_by_hand_does_not_cite_what_came_later(lab: Any, one: Any, network: Network) -> None:
    lab.react(events(network), one)
    again(lab, one)
    lab.react(events(network), one)
    moved = VOEvent(**{**WHO, "stream": "ivo://org.example/u"}, broker=network.address, timeout_s=5)
    react_again(lab.reaction(Process("tell", (moved,)), one), lab.store.outbox.list("tell"))
    assert states(lab) == ["confirmed"] * 2
    assert len(network.events) == 2  # the broker knew them: they kept their ids, times and citations


def test_event_of_an_object_is_cited_by_those_of_its_later_states(lab: Any, one: Any, network: Network) -> None:
    lab.react(events(network, once_per="object"), one)
    react_to_night(lab.reaction(events(network), one), "2018-08-19")  # the same state: nothing came before
    again(lab, one)
    lab.react(events(network, once_per="object"), one)
    react_to_night(lab.reaction(events(network), one), "2018-08-20")
    (_, nothing), (second, none), (_, of_second) = map(cited, network.events)
    assert (nothing, none, of_second) == ([], [], [(second, "followup")])


def test_real_packets_through_all_three(lab: Any, real: Any, broker: Broker) -> None:
    """Thirty alerts of 2018-08-19: each receiver's words lead back to the packet."""
    voeventparse = pytest.importorskip("voeventparse", reason=NO_VOEVENT)
    rules = lab.rules("A", reactions=("tell",))
    packets = real("ztf_public_20180819_mod1000.tar.gz")
    lab.run(rules, packets)
    candidates = {}
    for packet in packets:
        (alert,) = fastavro.reader(BytesIO(packet.data))
        candidates[alert["objectId"]] = alert
    error = {"position_error_arcsec": 0.3}
    notice = {"topic": "gcn.notices.ampel.t", "schema_url": "https://gcn.nasa.gov/x", "mission": "ZTF", **error}
    publishers = (
        KafkaPublisher(brokers=broker.brokers, topic="real"),
        GcnNotice(brokers=broker.brokers, **notice),
        VOEvent(**{**WHO, **error}),
    )
    (done,) = lab.react(Process("tell", publishers), rules)
    assert (done.counts["reacted"], done.failures) == (90, {})
    assert keys(broker, "real") == keys(broker, "gcn.notices.ampel.t") == sorted(candidates)
    for message in broker.messages("real"):
        (told,) = fastavro.reader(BytesIO(message.value() or b""))
        alert = candidates[told["name"]]
        assert (told["alerts"], told["jd"]) == ([alert["candid"]], alert["candidate"]["jd"])
        newest = told["light_curve"][-1]
        assert newest["mag"] == pytest.approx(alert["candidate"]["magpsf"], abs=1e-6)
        assert newest["positive"] == (alert["candidate"]["isdiffpos"] in ("t", "1"))
    for message in broker.messages("gcn.notices.ampel.t"):
        told = json.loads(message.value() or b"")
        candidate = candidates[told["event_name"][0]]["candidate"]
        assert (told["ra"], told["dec"]) == pytest.approx((candidate["ra"], candidate["dec"]), abs=1e-3)
        assert told["alert_datetime"] > told["trigger_time"]
    files = sorted(lab.reports.rglob("voevents/*.xml"))
    assert [file.name.split("_")[0] for file in files] == sorted(candidates)
    for file in files:
        event = voeventparse.loads(file.read_bytes())
        assert voeventparse.valid_as_v2_0(event)
        jd = candidates[file.name.split("_")[0]]["candidate"]["jd"]
        assert Time(voeventparse.get_event_time_as_utc(event)).jd == pytest.approx(jd, abs=1e-8)
        assert voeventparse.get_event_time_as_utc(event).date() == date(2018, 8, 19)
