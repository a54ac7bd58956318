"""A look by a sensor, as the daemon makes it."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from resources.mongo import MongoResource

Look = Callable[..., Any]


@pytest.fixture
def look() -> Look:
    """Let a sensor of a platform look once: its requests, and the cursor with which it goes on."""

    def look(platform: Any, name: str, cursor: str | None = None) -> tuple[list[dg.RunRequest], str | None, str]:
        sensor = next(sensor for sensor in platform.defs.sensors if sensor.name == name)
        resources = {"mongo": MongoResource(surveys=["ztf"])}
        given = {"instance": platform.history, "cursor": cursor, "resources": resources}
        with platform.entered(), dg.build_sensor_context(**given) as context:
            found = sensor(context)
        if isinstance(found, dg.SkipReason):
            return [], cursor, found.skip_message
        if isinstance(found, dg.RunRequest):
            return [found], cursor, ""
        return list(found.run_requests), found.cursor, ""

    return look
