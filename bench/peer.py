"""AMPEL, measured by scripts of its own interpreter.

`--peer-python` is the interpreter that AMPEL is installed for. `--peer-dir` is a folder with two scripts for it:

- ``build_config.py FILE`` writes AMPEL's configuration;
- ``bench.py ingest|t2|t3 …`` does one step and prints ``RESULT`` and an object of JSON with n, wall_s, rate, cpu_py_s,
  cpu_mongod_s, cpu_other_s, rss_py_mb and cols (documents by collection). It reads MONGO_URI, MONGOD_PID and
  AMPEL_CONFIG from the environment, and takes --tar, --source, --channels, --filter, --t3-unit and --prefix.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PREFIX = "bench_peer"
#: Runs a command as a child of a small process: the peak of memory of a process begins with that of its parent.
_SMALL_PARENT = ("/bin/sh", "-c", '"$@"; exit $?', "sh")
_KEEP = Path(__file__).with_name("keep_database.py")


class Peer:
    """Runs the peer's steps on our mongod."""

    def __init__(self, python: Path, scripts: Path, folder: Path, uri: str, mongod_pid: int) -> None:
        self._python = python
        self._script = scripts / "bench.py"
        self._folder = folder
        config = folder / "ampel_config.json"
        self._env = {
            **os.environ,
            "MONGO_URI": uri,
            "MONGOD_PID": str(mongod_pid),
            "AMPEL_CONFIG": str(config),
        }
        made = self._run([str(scripts / "build_config.py"), str(config)])
        if not config.exists():
            raise SystemExit(f"AMPEL's configuration could not be built:\n{made.stderr[-2000:]}")

    def step(self, arguments: Sequence[str], tar: Path, *, fresh: bool) -> dict[str, Any]:
        """Do one step; return its figures. The peer's `ingest` begins with an empty database unless told not to."""
        options = ["--prefix", PREFIX, *(["--tar", str(tar)] if arguments[0] == "ingest" else [])]
        keep = [] if fresh else [str(_KEEP)]
        done = self._run([*keep, str(self._script), *arguments, *options])
        for line in done.stdout.splitlines():
            if line.startswith("RESULT "):
                found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
                if found.get("trouble"):
                    raise SystemExit(f"AMPEL had trouble: {found}")
                found["documents"] = {key: found["cols"][key] for key in ("stock", "t0", "t1", "t2")}
                return found
        raise SystemExit(f"AMPEL failed at {' '.join(arguments)}:\n{(done.stderr or done.stdout)[-2000:]}")

    def _run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_SMALL_PARENT, str(self._python), *command],
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
        )
