"""Partition keys: channel and night, in the form that Dagster gives them."""

from collections.abc import Sequence

import dagster as dg


def partition_key(channel: str, night: str) -> dg.MultiPartitionKey:
    """Key of one channel and night."""
    return dg.MultiPartitionKey({"channel": channel, "night": night})


def split_partitions(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """Channels and nights of some keys, each sorted.

    A run's keys are always all channels of it times all nights. Keys come as `MultiPartitionKey` or, from the command
    line, as plain text ('BRIGHT|2018-08-19'); both read the same.
    """
    pairs = [str(key).split("|") for key in keys]
    return sorted({channel for channel, _ in pairs}), sorted({night for _, night in pairs})
