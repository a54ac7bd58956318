"""For the peer's interpreter: run its script on the database as it is, so that a warm one can be measured."""

import runpy
import sys
from pathlib import Path
from typing import Any

from ampel.dev.DevAmpelContext import DevAmpelContext

_load = DevAmpelContext.load


def _load_as_it_is(*args: Any, **kwargs: Any) -> Any:
    return _load(*args, **{**kwargs, "purge_db": False})


if __name__ == "__main__":
    DevAmpelContext.load = staticmethod(_load_as_it_is)
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
