"""The plan of a Kafka stream: every offset in exactly one link, whoever plans; what is lost has a name."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampel_dagster.model.errors import UserError
from ampel_dagster.model.offsets import Lost, OffsetRange, Partition, Watermark
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.model.stream import Kafka
from ampel_dagster.pipeline.ranges import Reading, allot, lag, losses, plan
from ampel_dagster.sources.kafka import KafkaSource
from ampel_dagster.storage.offsets import Link
from ampel_dagster.storage.store import Store
from tests.kafka_broker import PARTITIONS, Broker, by_partition

ZERO, ONE = Partition("alerts", 0), Partition("alerts", 1)
META = RunInfo("planner", 1).meta()


def look(partition):
    """Nobody needs to look again where nobody else plans."""
    raise AssertionError(f"there is no reason to ask for {partition} again")


@pytest.fixture
def planned(store):
    """Let a look plan; (group, texts of its ranges, what it found lost)."""

    def planned(*marks, budget=1000, owner="run"):
        now = {mark.partition: mark for mark in marks}
        found = plan(store.offsets, "ztf", marks, budget, owner, META, now.get)
        return found.group, [str(part) for part in found.ranges], [tuple(lost) for _, lost in found.lost]

    return planned


def mark(low, high, partition=ZERO, cluster="c"):
    return Watermark(partition, low, high, cluster)


def finish(store, *texts):
    store.offsets.done("ztf", map(OffsetRange.parse, texts), "run")


class TestText:
    @given(
        st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True),
        st.integers(0, 999),
        st.integers(0, 9),
        st.integers(0, 10**15),
        st.integers(1, 10**6),
    )
    def test_a_range_is_what_its_text_says(self, topic, partition, epoch, first, size):
        part = OffsetRange(Partition(topic, partition), epoch, first, first + size)
        assert OffsetRange.parse(str(part)) == part
        assert part.size == size

    @pytest.mark.parametrize("text", ["", "alerts/0", "alerts:1-2", "alerts/0:2-2", "alerts/0:3-2", "a b/0:1-2"])
    def test_no_range(self, text):
        with pytest.raises(UserError, match="is no range of offsets; write topic/partition:first-end"):
            OffsetRange.parse(text)


class TestPlan:
    def test_first_look(self, planned):
        assert planned(mark(0, 10), mark(0, 0, ONE))[1:] == (["alerts/0:0-10"], [])

    def test_the_next_look_goes_on(self, planned):
        planned(mark(0, 10))
        assert planned(mark(0, 10))[1:] == ([], [])
        assert planned(mark(0, 17))[1:] == (["alerts/0:10-17"], [])

    def test_a_budget_is_shared(self, planned):
        assert planned(mark(0, 3), mark(0, 50, ONE), budget=10)[1] == ["alerts/0:0-3", "alerts/1:0-7"]

    @given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 100))
    def test_shares(self, pending, budget):
        marks = {mark(0, n, Partition("a", i)): n for i, n in enumerate(pending)}
        shares = allot(marks, budget)
        assert sum(shares.values()) == min(budget, sum(pending))
        assert all(0 <= shares[m] <= n for m, n in marks.items())
        # Nobody who wants more has less than anybody else, but for what cannot be divided.
        assert all(shares[m] >= max(shares.values()) - 1 for m, n in marks.items() if shares[m] < n)

    def test_packets_from_before_the_first_look_are_no_loss(self, planned, store):
        assert planned(mark(5, 9))[1:] == (["alerts/0:5-9"], [(0, 5, "BEFORE_FIRST_LOOK")])
        assert not Lost(0, 5, "BEFORE_FIRST_LOOK").is_loss

    def test_expired_offsets(self, planned, store):
        planned(mark(0, 10))
        assert planned(mark(12, 20))[1:] == (["alerts/0:12-20"], [(10, 12, "EXPIRED")])
        (row,) = store.offsets.lost("ztf")
        assert (row["topic"], row["partition"], row["first"], row["end"], row["reason"]) == (*ZERO, 10, 12, "EXPIRED")
        assert planned(mark(12, 20))[1:] == ([], [])

    def test_topic_that_was_made_anew(self, planned, store):
        planned(mark(0, 10))
        assert planned(mark(0, 4))[1:] == (["alerts/0~1:0-4"], [(10, 10, "TOPIC_RESET")])
        assert planned(mark(0, 6))[1:] == (["alerts/0~1:4-6"], [])

    def test_topic_that_was_made_anew_and_has_expired_since(self, planned):
        planned(mark(0, 10))
        found = planned(mark(3, 4))
        assert found[1:] == (["alerts/0~1:3-4"], [(10, 10, "TOPIC_RESET"), (0, 3, "EXPIRED")])

    def test_topic_that_is_still_empty_after_it_was_made_anew(self, planned):
        planned(mark(0, 10))
        assert planned(mark(0, 0))[1:] == ([], [(10, 10, "TOPIC_RESET")])
        assert planned(mark(0, 0))[1:] == ([], [])
        assert planned(mark(0, 12))[1:] == (["alerts/0~1:0-12"], [])

    def test_another_cluster(self, planned):
        """Its offsets mean other packets, though they may be larger."""
        planned(mark(0, 10))
        assert planned(mark(0, 50, cluster="d"))[1:] == (["alerts/0~1:0-50"], [(10, 10, "CLUSTER_CHANGED")])
        assert planned(mark(0, 50, cluster="d"))[1:] == ([], [])

    def test_brokers_without_an_id(self, planned):
        planned(mark(0, 10))
        assert planned(mark(0, 12, cluster=""))[1] == ["alerts/0:10-12"]

    def test_surveys_have_plans_of_their_own(self, planned, store):
        planned(mark(0, 10))
        assert plan(store.offsets, "lsst", [mark(0, 10)], 99, "run", META, look).ranges == (
            OffsetRange.parse("alerts/0:0-10"),
        )


#: What happens to a partition: packets come, old ones expire, the topic is made anew.
EVENTS = st.lists(
    st.tuples(st.sampled_from(["come", "come", "come", "expire", "anew"]), st.integers(0, 1), st.integers(0, 40)),
    max_size=25,
)


class TestChain:
    @given(EVENTS, st.integers(1, 60), st.integers(0, 2**32))
    @settings(max_examples=60, deadline=None)
    def test_every_offset_is_in_exactly_one_link(self, mongo_uri, events, budget, seed):
        """Whatever happens to the partitions, with two who plan at once, one of them looking at stale figures."""
        store = Store.open(mongo_uri, f"test_{uuid.uuid4().hex[:12]}")
        now = {ZERO: (0, 0), ONE: (0, 0)}
        fresh: dict[Partition, Watermark] = {}
        try:
            for what, number, amount in events:
                partition = (ZERO, ONE)[number]
                stale = [Watermark(p, *found, "c") for p, found in now.items()]
                low, high = now[partition]
                if what == "come":
                    now[partition] = (low, high + amount)
                elif what == "expire":
                    now[partition] = (min(high, low + amount), high)
                else:
                    now[partition] = (0, min(amount, max(high - 1, 0)))
                fresh.update({p: Watermark(p, *found, "c") for p, found in now.items()})
                who = [list(fresh.values()), *([stale] if what == "come" else [])]
                with ThreadPoolExecutor(2) as pool:
                    list(pool.map(lambda m: plan(store.offsets, "ztf", m, budget, "run", META, fresh.get), who))
            plan(store.offsets, "ztf", list(fresh.values()), 10_000, "run", META, fresh.get)
            for partition, links in by_partition(store.offsets.collection.find()).items():
                for epoch in {link["epoch"] for link in links}:
                    chain = [link for link in links if link["epoch"] == epoch]
                    edges = [(link["first"], link["end"]) for link in chain]
                    assert edges[0][0] == 0
                    assert all(a[1] == b[0] for a, b in pairwise(edges)), edges
                head = store.offsets.head("ztf", partition)
                assert head is not None
                # After a reset offsets begin anew, with 0; nothing is planned where nothing came since.
                anew = head.lost is not None and head.lost.reason == "TOPIC_RESET"
                assert (0 if anew else head.part.end) == now[partition][1]
                resets = sum(what == "anew" and (ZERO, ONE)[number] == partition for what, number, _ in events)
                assert max(link["epoch"] for link in links) <= resets
        finally:
            store.drop()
            store.close()


class TestGroups:
    def test_who_is_given_a_group_has_it(self, planned, store):
        group, _, _ = planned(mark(0, 10), mark(0, 4, ONE))
        assert {g: [str(link.part) for link in links] for g, links in store.offsets.waiting("ztf").items()} == {
            group: ["alerts/0:0-10", "alerts/1:0-4"]
        }
        assert store.offsets.ask("ztf", group, 0, "run") == 2
        assert store.offsets.ask("ztf", group, 0, "listen") == 0, "somebody was faster"
        assert store.offsets.ask("ztf", group, 1, "listen") == 2

    def test_what_is_done_is_no_longer_waiting(self, planned, store):
        group, _, _ = planned(mark(0, 10), mark(0, 4, ONE))
        finish(store, "alerts/0:0-10")
        assert [str(link.part) for link in store.offsets.waiting("ztf")[group]] == ["alerts/1:0-4"]
        assert store.offsets.ask("ztf", group, 0, "run") == 1
        finish(store, "alerts/1:0-4")
        assert store.offsets.waiting("ztf") == {}
        assert store.offsets.ask("ztf", group, 1, "run") == 0

    def test_positions_stop_at_the_first_hole(self, planned, store):
        planned(mark(0, 10))
        planned(mark(0, 20))
        finish(store, "alerts/0:10-20")
        assert store.offsets.positions("ztf", [ZERO, ONE]) == {ZERO: 0}
        finish(store, "alerts/0:0-10")
        assert store.offsets.positions("ztf", [ZERO, ONE]) == {ZERO: 20}

    def test_the_oldest_group_comes_first(self, store):
        for n, seconds in enumerate((50, 10, 30)):
            meta = {**META, "ts": utc_now() - timedelta(seconds=seconds)}
            plan(store.offsets, "ztf", [mark(0, 5, Partition("alerts", n))], 9, "run", meta, look)
        found = [str(link.part) for links in store.offsets.waiting("ztf").values() for link in links]
        assert found == ["alerts/0:0-5", "alerts/2:0-5", "alerts/1:0-5"]


class TestMerging:
    """Of what one run did in a row one range is made."""

    def chain(self, store):
        rows = by_partition(store.offsets.collection.find())
        return {str(p): [(row["first"], row["end"], row["state"]) for row in found] for p, found in rows.items()}

    def test_ranges_in_a_row(self, planned, store):
        for high in (3, 6, 9, 12):
            planned(mark(0, high), mark(0, high, ONE), owner="listen")
        store.offsets.done("ztf", map(OffsetRange.parse, ["alerts/0:0-3", "alerts/0:3-6", "alerts/1:0-3"]), "mine")
        store.offsets.done("ztf", [OffsetRange.parse("alerts/1:3-6")], "another's")
        store.offsets.done("ztf", [OffsetRange.parse("alerts/1:6-9")], "mine")
        before = store.offsets.positions("ztf", [ZERO, ONE])
        for _ in range(2):
            store.offsets.merge("ztf", "mine")
            assert self.chain(store) == {
                "alerts/0": [(0, 6, "done"), (6, 9, "planned"), (9, 12, "planned")],
                "alerts/1": [(0, 3, "done"), (3, 6, "done"), (6, 9, "done"), (9, 12, "planned")],
            }
        assert store.offsets.positions("ztf", [ZERO, ONE]) == before == {ZERO: 6, ONE: 9}

    def test_the_end_of_the_chain_stays(self, planned, store):
        for high in (3, 6, 9):
            planned(mark(0, high), owner="listen")
        finish(store, "alerts/0:0-3", "alerts/0:3-6", "alerts/0:6-9")
        store.offsets.merge("ztf", "run")
        assert self.chain(store) == {"alerts/0": [(0, 9, "done")]}
        assert planned(mark(0, 12))[1] == ["alerts/0:9-12"]

    def test_a_merging_that_was_killed_is_finished(self, planned, store):
        for high in (3, 6, 9):
            planned(mark(0, high), owner="listen")
        finish(store, "alerts/0:0-3", "alerts/0:3-6", "alerts/0:6-9")
        store.offsets.collection.update_one({"first": 0}, {"$set": {"end": 9}})
        assert planned(mark(0, 12))[1] == ["alerts/0:9-12"]
        store.offsets.merge("ztf", "run")
        assert self.chain(store) == {"alerts/0": [(0, 9, "done"), (9, 12, "planned")]}

    def test_losses_stay_as_they_are(self, planned, store):
        planned(mark(0, 3), owner="listen")
        planned(mark(0, 6), owner="listen")
        store.offsets.lose("ztf", OffsetRange.parse("alerts/0:3-6"), Lost(3, 4, "EXPIRED"))
        finish(store, "alerts/0:0-3", "alerts/0:3-6")
        store.offsets.merge("ztf", "run")
        assert self.chain(store) == {"alerts/0": [(0, 3, "done"), (3, 6, "done")]}


class TestListeners:
    def test_one_at_a_time(self, store):
        assert store.listeners.alive("ztf") is None
        assert store.listeners.beat("ztf", "a", 60)
        assert store.listeners.beat("ztf", "a", 60)
        assert not store.listeners.beat("ztf", "b", 60)
        assert store.listeners.alive("ztf") == "a"
        store.listeners.leave("ztf", "b")
        assert store.listeners.alive("ztf") == "a"
        store.listeners.leave("ztf", "a")
        assert store.listeners.beat("ztf", "b", 60)

    def test_of_a_dead_one_by_time(self, store):
        assert store.listeners.beat("ztf", "a", -1)
        assert store.listeners.alive("ztf") is None
        assert store.listeners.beat("ztf", "b", 60)


class TestLosses:
    """What of a planned range is lost by the time at which it is read."""

    LINK = Link(OffsetRange(ZERO, 0, 10, 20), "planned", "c")

    @pytest.mark.parametrize(
        ("found", "expected"),
        [
            (mark(0, 20), None),
            (mark(10, 30), None),
            (mark(15, 30), Lost(10, 15, "EXPIRED")),
            (mark(25, 30), Lost(10, 20, "EXPIRED")),
            (mark(0, 19), Lost(10, 20, "TOPIC_RESET")),
            (mark(0, 30, cluster="d"), Lost(10, 20, "CLUSTER_CHANGED")),
            (None, Lost(10, 20, "TOPIC_GONE")),
        ],
    )
    def test_by_what_the_broker_holds(self, found, expected):
        assert losses(self.LINK, found, self.LINK) == expected

    def test_range_of_an_earlier_epoch(self):
        head = Link(OffsetRange(ZERO, 1, 0, 5), "planned", "c")
        assert losses(self.LINK, mark(0, 99), head) == Lost(10, 20, "TOPIC_RESET")


class TestReading:
    @pytest.fixture
    def broker(self):
        return Broker()

    @pytest.fixture
    def source(self, broker, tmp_path):
        with KafkaSource(Kafka(**broker.settings()), tmp_path) as source:
            yield source

    @pytest.fixture
    def read(self, store, source):
        def read(*texts):
            reading = Reading(store.offsets, "ztf", list(map(OffsetRange.parse, texts)), META)
            packets = [(packet.partition, packet.offset) for packet in reading.packets(source)]
            return packets, [tuple(lost) for _, lost in reading.lost]

        return read

    def test_partition_by_partition(self, broker, read):
        broker.send([b"packet"] * 12)
        assert read("alerts/2:1-3", "alerts/0:0-2") == ([(0, 0), (0, 1), (2, 1), (2, 2)], [])

    def test_what_has_expired_is_named_and_the_rest_is_read(self, broker, source, store, read):
        """The broker really drops what is too much for it."""
        broker.send((b"x" * 100_000 for _ in range(100)), partition=0)
        (low, high) = next((m.low, m.high) for m in source.watermarks() if m.partition == ZERO)
        assert 0 < low < high == 100
        # Planned while everything was there.
        plan(store.offsets, "ztf", [Watermark(ZERO, 0, 100, "")], 1000, "run", META, look)
        packets, lost = read("alerts/0:0-100")
        assert packets == [(0, offset) for offset in range(low, 100)]
        assert lost == [(0, low, "EXPIRED")]
        (row,) = store.offsets.lost("ztf")
        assert (row["first"], row["end"], row["reason"]) == (0, low, "EXPIRED")

    def test_topic_that_was_made_anew(self, broker, source, store, read):
        """A planned range is lost as a whole; what stands at these offsets later are other packets, read in full."""
        plan(store.offsets, "ztf", [Watermark(ZERO, 0, 100, "")], 1000, "run", META, look)
        broker.send([b"new"] * 30, partition=0)
        assert read("alerts/0:0-100") == ([], [(0, 100, "TOPIC_RESET")])
        broker.send([b"new"] * 120, partition=0)
        found = plan(store.offsets, "ztf", source.watermarks(), 1000, "run", META, look)
        assert [str(part) for part in found.ranges] == ["alerts/0~1:0-150"]
        assert {(row["first"], row["end"]) for row in store.offsets.lost("ztf")} == {(0, 100), (100, 100)}

    def test_topic_that_is_gone(self, broker, store, read):
        plan(store.offsets, "ztf", [Watermark(Partition("gone", 3), 0, 5, "")], 1000, "run", META, look)
        assert read("gone/3:0-5") == ([], [(0, 5, "TOPIC_GONE")])

    def test_how_far_a_stream_is_behind(self, broker, source, store):
        assert lag(store.offsets, "ztf", source).oldest is None
        broker.send([b"packet"] * 8, first_ms=1_700_000_000_000)
        assert lag(store.offsets, "ztf", source).waiting == {Partition("alerts", n): 2 for n in range(PARTITIONS)}
        plan(store.offsets, "ztf", source.watermarks(), 1000, "run", META, look)
        finish(store, "alerts/0:0-2", "alerts/3:0-2")
        found = lag(store.offsets, "ztf", source)
        assert found.waiting == {Partition("alerts", n): 2 for n in (1, 2)}
        assert found.packets == 4
        assert found.oldest is not None
        assert found.oldest.timestamp() == 1_700_000_000.001
        assert found.positions == {Partition("alerts", n): 2 * (n in (0, 3)) for n in range(PARTITIONS)}
