"""Secrets by name: from the environment, or from a file of the instance; they stand in no configuration."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from ampel_dagster.model.errors import UserError

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


class Secrets:
    """Gives out secrets of an instance; shows none of them."""

    def __init__(self, folder: Path, env: Mapping[str, str] = os.environ) -> None:
        self._folder = folder / "secrets"
        self._env = env

    def __call__(self, name: str) -> str:
        """The value of `AMPEL_SECRET_<NAME>`, else what the file `secrets/<NAME>` holds, without its last line's end.

        Raises UserError where there is none.
        """
        if _NAME.fullmatch(name) is None:
            raise UserError(f"{name!r} is no name of a secret: letters, digits and _ only, a letter first")
        value = self._env.get(f"AMPEL_SECRET_{name}", "")
        path = self._folder / name
        if not value and path.is_file():
            try:
                value = path.read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"the secret {name} cannot be read from {path}: {type(error).__name__}") from None
        if not value:
            raise UserError(f"there is no secret {name}: set AMPEL_SECRET_{name}, or write it to {path}")
        return value

    def __repr__(self) -> str:
        return f"Secrets({str(self._folder)!r})"
