"""Writing files so that nobody ever reads half of one, under names that nobody outside can choose."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

_LONGEST_NAME = 80


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text in one step."""
    # A lone surrogate cannot be encoded; a broken name must not cost the report.
    data = text.encode("utf-8", "replace")
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def safe_stem(name: str, stock: int) -> str:
    """File name for an object that an alert named: its name where harmless, else cleaned and with its id."""
    clean = re.sub(r"[^A-Za-z0-9_+-]+", "_", name)[:_LONGEST_NAME].strip("_")
    return name if name and clean == name else f"{clean or 'object'}-{stock}"
