"""Trained models in files of the instance: where they are, and what they hold."""

from hashlib import blake2b
from pathlib import Path

from ampel_dagster.units.t2._paths import value_at

__all__ = ["content_hash", "existing", "value_at"]


def existing(folder: Path, file: str) -> Path:
    """A file of the instance. Raises ValueError where it is not there."""
    path = folder / Path(file).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {path}; put the model there")
    return path


def content_hash(path: Path) -> str:
    """64 bits of BLAKE2b of a file's content, as 16 hexadecimal digits."""
    return blake2b(path.read_bytes(), digest_size=8).hexdigest()
