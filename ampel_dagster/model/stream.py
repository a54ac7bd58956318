"""A stream: one survey's packets, where they lie and how they are kept."""

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Archive(_Strict):
    """Nightly files, for backfills."""

    folder: str = Field(description="folder of the nightly files, relative to the instance")
    pattern: str = Field(description="file name with the night, as in 'ztf_public_{night:%Y%m%d}.tar.gz'")

    @field_validator("pattern")
    @classmethod
    def _has_night(cls, pattern: str) -> str:
        try:
            if pattern.format(night=date(2018, 8, 19)) == pattern.format(night=date(2018, 8, 20)):
                raise ValueError
        except (KeyError, IndexError, ValueError):
            raise ValueError("needs the night, as in 'ztf_public_{night:%Y%m%d}.tar.gz'") from None
        return pattern

    def file_name(self, night: str) -> str:
        """Name of a night's file."""
        return self.pattern.format(night=date.fromisoformat(night))


class Landing(_Strict):
    """Folder into which new files are dropped."""

    folder: str = Field(description="folder that is watched, relative to the instance")


class Schemas(_Strict):
    """Schemas of packets that name theirs by a number."""

    folder: str = Field(description="folder with MAJOR/MINOR/*.avsc, relative to the instance")


class Stream(_Strict):
    """One survey's packets."""

    survey: str = Field(description="name of the instrument: ztf, lsst")
    start_date: date = Field(description="the first night that can exist")
    archive: Archive | None = Field(None, description="nightly files, for backfills")
    landing: Landing | None = Field(None, description="folder that is watched for new files")
    schemas: Schemas | None = Field(None, description="schemas of packets that name theirs by a number (lsst)")
    cutouts: Literal["off", "accepted"] = Field("off", description="whether stamps of accepted alerts are kept")
    cutout_days: int | None = Field(90, ge=1, description="days for which stamps are kept; null: for ever")
    rejected_days: int = Field(
        30, ge=0, description="days for which verdicts on rejected alerts are kept; 0: not at all"
    )
    max_filter_failures: int = Field(
        20, ge=1, description="a filter that raises so often in a row is left out for the rest of the run"
    )
    batch_size: int = Field(100, ge=1, le=10_000, description="packets a batch, the unit of work and of crash repair")
