"""The job `augment` of the instance in force, as processes other than that of the test find it."""

import dagster as dg

from ampel_dagster.config.instance import locate
from ampel_dagster.config.load import load
from ampel_dagster.definitions import build


def augment() -> dg.JobDefinition:
    """Made anew, whatever instance was in force when the definitions were loaded."""
    return build(load(locate().folder)).resolve_job_def("augment")
