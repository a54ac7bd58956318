"""How commands read names and nights, and cut a backfill into runs."""

import pytest

from ampel_dagster.commands.ingesting import _groups, channel_blocks, parse_nights, range_tags
from ampel_dagster.commands.session import known
from ampel_dagster.model.errors import UserError

NIGHT, NEXT_NIGHT = "2018-08-19", "2018-08-20"


class TestNights:
    @pytest.mark.parametrize(
        ("text", "nights"),
        [
            ("2018-08-19", (NIGHT, NIGHT)),
            ("2018-08-19..2018-08-31", (NIGHT, "2018-08-31")),
            ("2018-08-19..2018-08-19", (NIGHT, NIGHT)),
            ("2018-08-19..", (NIGHT, NIGHT)),
        ],
    )
    def test_parse(self, text, nights):
        assert parse_nights(text) == nights

    @pytest.mark.parametrize("text", ["", "..", "..2018-08-19", "2018-02-30", "2018-08-19...2018-08-20", "2018-8-19"])
    def test_wrong_form(self, text):
        with pytest.raises(UserError, match=r"write YYYY-MM-DD\.\.YYYY-MM-DD, or one night"):
            parse_nights(text)

    def test_wrong_order(self):
        with pytest.raises(UserError, match="the last night is before the first"):
            parse_nights("2018-08-20..2018-08-19")


class TestRuns:
    """How a backfill is cut into runs."""

    @pytest.mark.parametrize(
        ("chosen", "blocks"),
        [
            ("ABCDE", ["ABCDE"]),
            ("EDCBA", ["ABCDE"]),
            ("A", ["A"]),
            ("AC", ["A", "C"]),
            ("ABDE", ["AB", "DE"]),
            ("ACE", ["A", "C", "E"]),
        ],
    )
    def test_channels_that_are_neighbours(self, chosen, blocks):
        assert channel_blocks(list(chosen), list("ABCDE")) == [list(block) for block in blocks]

    @pytest.mark.parametrize(
        ("nights", "channels", "groups"),
        [
            (["2018-08-19"], 1, [["2018-08-19"]]),
            (["2018-08-31", "2018-09-01"], 1, [["2018-08-31", "2018-09-01"]]),
            (["2018-08-19", "2018-08-21", "2018-08-22"], 1, [["2018-08-19"], ["2018-08-21", "2018-08-22"]]),
            (["2018-08-19", "2018-08-20", "2018-08-21"], 200, [["2018-08-19", "2018-08-20"], ["2018-08-21"]]),
            (["2018-08-19", "2018-08-20"], 1000, [["2018-08-19"], ["2018-08-20"]]),
            ([], 1, []),
        ],
    )
    def test_nights_that_follow_each_other(self, nights, channels, groups):
        assert list(_groups(nights, channels)) == groups

    def test_tags_of_a_range(self):
        assert range_tags("A", "C", NIGHT, NEXT_NIGHT) == {
            "dagster/asset_partition_range_start": "A|2018-08-19",
            "dagster/asset_partition_range_end": "C|2018-08-20",
            "ampel/mode": "archive",
        }


class TestKnown:
    def test_names_that_are_there(self):
        known("channel", ["A", "B"], ["A", "B", "C"])
        known("channel", [], [])

    @pytest.mark.parametrize(
        ("name", "there", "hint"),
        [("BRIHGT", ["ALL", "BRIGHT"], "did you mean BRIGHT"), ("x", ["ALL"], "there are: ALL"), ("x", [], "none")],
    )
    def test_nearest_name_is_suggested(self, name, there, hint):
        with pytest.raises(UserError, match=f"no channel is called '{name}'; .*{hint}"):
            known("channel", [name], there)
