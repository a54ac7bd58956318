"""A file that appears in a stream's landing folder is ingested."""

import json
from pathlib import Path
from time import time

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.sources.files import is_alert_file
from assets.archive import landing_folder
from assets.partitions import MODE_TAG

#: A file that changed less than this ago may still be written; one that is renamed into place is complete at once.
SETTLE_S = 2.0
#: Files that one run takes.
MAX_FILES_PER_RUN = 200


def new_alerts_sensor(config: Config, survey: str, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Watches the landing folder; the cursor is (time of change, name) of the last file that was taken."""

    @dg.sensor(
        name=f"new_{survey}_alerts",
        job=job,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Ingests files that are dropped into the landing folder of {survey}.",
    )
    def new_alerts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        folder = landing_folder(config, survey)
        if folder is None or not folder.is_dir():
            return dg.SkipReason(f"there is no folder {folder}")
        last = tuple(json.loads(context.cursor)) if context.cursor else (0, "")
        found = [file for file in _settled(folder) if file[:2] > last][:MAX_FILES_PER_RUN]
        if not found:
            return dg.SkipReason(f"nothing new in {folder}")
        paths = [str(path) for _, _, path in found]
        run_config = {"ops": {"ingest_packets": {"config": {"survey": survey, "paths": paths}}}}
        request = dg.RunRequest(
            run_key=f"{survey}:{found[-1][0]}:{found[-1][1]}:{len(found)}",
            run_config=run_config,
            tags={MODE_TAG: "live", "ampel/files": ", ".join(path.name for _, _, path in found[:5])},
        )
        return dg.SensorResult(run_requests=[request], cursor=json.dumps(found[-1][:2]))

    return new_alerts


def _settled(folder: Path) -> list[tuple[int, str, Path]]:
    """(time of change in ns, name, path) of complete files, oldest first."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and is_alert_file(path):
            changed_ns = path.stat().st_mtime_ns
            if time() - changed_ns / 1e9 >= SETTLE_S:
                found.append((changed_ns, str(path.relative_to(folder)), path))
    return sorted(found)
