"""What the UI shows: tables that nothing from outside can break, and figures that say whose they are."""

import re
from collections import Counter

import pytest

from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.tier import PartitionFacts
from ampel_dagster.storage.figures import Figures
from resources.metadata import failure_table, markdown_table, partition_metadata, run_metadata


def cells(line):
    """Cells of a line of a table: a pipe with an odd number of backslashes before it is no border."""
    return [cell.strip() for cell in re.split(r"(?<!\\)(?:\\\\)*\|", line)[1:-1]]


class TestTable:
    def test_form(self):
        rows = [{"name": "ZTF18a", "n": 3}, {"name": "ZTF18b"}]
        assert markdown_table(rows) == "| name | n |\n|---|---|\n| ZTF18a | 3 |\n| ZTF18b | None |"

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("a|b", "a\\|b"),
            ("a\\|b", "a\\\\\\|b"),
            ("two\nlines\r\n and\ttabs", "two lines and tabs"),
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("![x](http://example.org/track.png)", "!\\[x\\](http://example.org/track.png)"),
            ("`code`", "'code'"),
            ("&lt;", "&amp;lt;"),
            ("x" * 1000, "x" * 120),
            (1234.56789, "1234.57"),
            (2458349.668704, "2458349.668704"),
            (float("nan"), "nan"),
            (None, "None"),
            (2**62 + 1, str(2**62 + 1)),
        ],
    )
    def test_cell(self, value, shown):
        line = markdown_table([{"a": value, "b": "end"}]).splitlines()
        assert line[2:] == [f"| {shown} | end |"]
        assert cells(line[2]) == [shown, "end"]

    def test_no_escape_is_cut_in_two(self):
        for length in range(110, 130):
            line = markdown_table([{"a": "x" * length + "|" * 9, "b": "end"}]).splitlines()[2]
            assert cells(line)[1:] == ["end"]

    def test_names_of_columns_are_escaped_too(self):
        table = markdown_table([{"a|b<": 1, "c": 2}]).splitlines()
        assert table[0] == "| a\\|b&lt; | c |"
        assert [len(cells(line)) for line in table] == [2, 2, 2]

    def test_columns_that_nobody_reads_are_left_out(self):
        row = {"name": "x", "stock": 1, "link": 2, **{f"c{n}": n for n in range(20)}}
        assert cells(markdown_table([row]).splitlines()[0]) == ["name", *(f"c{n}" for n in range(8))]


class TestFailures:
    def test_most_frequent_first(self):
        failures = Counter({("filter of A", "KeyError: rb"): 2, ("product p", "a|b"): 30})
        assert failure_table(failures).splitlines()[2:] == [
            "| product p | a\\|b | 30 |",
            "| filter of A | KeyError: rb | 2 |",
        ]

    def test_is_bounded(self):
        failures = {("unit", f"message {n}"): n for n in range(100)}
        assert len(failure_table(failures).splitlines()) == 22


class TestRun:
    def test_figures_are_marked_as_the_runs(self):
        tally = Tally()
        tally.counts.update(read=10, new=7, known=3, bytes=2_500_000, superseded=4)
        found = run_metadata(tally, "ztf.alert", 2.0)
        assert found == {
            **{"run/read": 10, "run/new": 7, "run/known": 3},
            **{"run/rate_per_s": 5.0, "run/megabytes": 2.5, "collection": "ztf.alert"},
        }

    @pytest.mark.parametrize(
        ("counts", "rate"),
        [({"combined": 6}, 3.0), ({"computed": 3, "failed": 1}, 2.0), ({}, 0.0), ({"read": 4, "computed": 9}, 2.0)],
    )
    def test_rate_is_of_what_the_tier_works_on(self, counts, rate):
        tally = Tally(Counter(counts))
        assert run_metadata(tally, "ztf.t2", 2.0)["run/rate_per_s"] == rate

    def test_no_time_at_all(self):
        assert run_metadata(Tally(), "ztf.t2", 0.0)["run/rate_per_s"] == 0

    def test_failures_are_shown(self):
        tally = Tally(failures=Counter({("product p", "boom"): 1}))
        assert "| product p | boom | 1 |" in run_metadata(tally, "ztf.t2", 1.0)["failures"].value


class TestPartition:
    def facts(self):
        figures = Figures()
        figures.add(1, 2)
        return PartitionFacts(figures, [{"name": "ZTF18a", "n": 1}])

    def test_figures(self):
        found = partition_metadata(self.facts(), {"rejected": 2, "accepted": 1})
        assert list(found) == ["dagster/row_count", "accepted", "rejected", "content_digest", "preview"]
        assert (found["dagster/row_count"], len(found["content_digest"])) == (1, 16)
        assert found["preview"].value.splitlines()[2] == "| ZTF18a | 1 |"

    def test_preview_is_left_out_where_partitions_are_many(self):
        assert "preview" not in partition_metadata(self.facts(), {}, preview=False)

    def test_empty_partition(self):
        found = partition_metadata(PartitionFacts(Figures()), {})
        assert found == {"dagster/row_count": 0, "content_digest": "0" * 16}
