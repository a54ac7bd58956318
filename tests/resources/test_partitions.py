"""Partition keys, in the two forms that Dagster gives them in."""

import dagster as dg
import pytest

from resources.partitions import partition_key, split_partitions


def test_key_reads_as_channel_and_night():
    key = partition_key("BRIGHT", "2018-08-19")
    assert isinstance(key, dg.MultiPartitionKey)
    assert key.keys_by_dimension == {"channel": "BRIGHT", "night": "2018-08-19"}
    assert str(key) == "BRIGHT|2018-08-19"


@pytest.mark.parametrize("make", [partition_key, "{}|{}".format], ids=["MultiPartitionKey", "plain text"])
def test_channels_and_nights_of_keys(make):
    pairs = [("B", "2018-08-20"), ("A", "2018-08-20"), ("A", "2018-08-19"), ("B", "2018-08-19")]
    keys = [make(channel, night) for channel, night in pairs]
    assert split_partitions(keys) == (["A", "B"], ["2018-08-19", "2018-08-20"])
    assert split_partitions(keys[:1]) == (["B"], ["2018-08-20"])


def test_both_forms_in_one_run():
    keys = [partition_key("A", "2018-08-19"), "A|2018-08-20"]
    assert split_partitions(keys) == (["A"], ["2018-08-19", "2018-08-20"])


def test_no_key():
    assert split_partitions([]) == ([], [])
