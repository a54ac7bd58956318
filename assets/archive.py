"""Where a night's packets lie."""

from pathlib import Path

from ampel_dagster.config.instance import Instance
from ampel_dagster.config.load import Config


def archive_file(config: Config, survey: str, night: str) -> Path | None:
    """The archive's file of a night, or None if there is none."""
    archive = config.stream(survey).archive
    if archive is None:
        return None
    path = Instance(config.folder).path(archive.folder) / archive.file_name(night)
    return path if path.is_file() else None


def landing_folder(config: Config, survey: str) -> Path | None:
    """The folder that is watched for new files, or None if the stream has none."""
    landing = config.stream(survey).landing
    return Instance(config.folder).path(landing.folder) if landing else None
