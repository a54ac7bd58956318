"""A file that appears in a stream's landing folder is ingested."""

import json
from pathlib import Path
from time import time

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.sources.files import is_alert_file
from assets.archive import landing_folder
from assets.partitions import MODE_TAG

#: A file that changed less than this ago (seconds) may still be written.
SETTLE_S = 2.0
#: Files that one run takes.
MAX_FILES_PER_RUN = 200


def new_alerts_sensor(config: Config, survey: str, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Watches the landing folder; the cursor is (time of arrival, name) of the last file that was taken."""

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
    """(time of arrival in ns, name, path) of complete files, in the order in which they came."""
    found = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if not is_alert_file(path) or any(part.startswith(".") for part in name.parts):
            continue
        try:
            arrived_ns = _arrived_ns(folder, name)
        except FileNotFoundError:
            continue  # removed or renamed just now
        if path.is_file() and time() - arrived_ns / 1e9 >= SETTLE_S:
            found.append((arrived_ns, str(name), path))
    return sorted(found)


def _arrived_ns(folder: Path, name: Path) -> int:
    """When a file came to be where and what it is: the last change of its content, its name, or its folder's name.

    The time of its content alone would not do: a file that is moved or linked into the folder keeps an old one, and
    would be passed over for ever once a newer file was taken.
    """
    path = folder / name
    times = [path.stat().st_ctime_ns, path.lstat().st_ctime_ns]
    for parent in name.parents[:-1]:
        status = (folder / parent).stat()
        # A folder whose entries change gets both times; one that is moved gets the second alone.
        if status.st_ctime_ns != status.st_mtime_ns:
            times.append(status.st_ctime_ns)
    return max(times)
