"""The mongod process of an instance: started to outlive its starter, recognised again, its end explained."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ampel_dagster.model.errors import StorageError

#: Exit code of mongod where somebody else listens on the port.
PORT_TAKEN = 48
#: Exit code of mongod where another one serves the data folder (or the folder is unusable otherwise).
FOLDER_TAKEN = 100

#: How much of the log is read to explain an end (bytes).
_LOG_EXCERPT = 1 << 20
_MISSING_LIBRARY = re.compile(r"error while loading shared libraries: (\S+?):")
_PROC = Path("/proc")

#: What this process has started. Kept so that a mongod that ended is reaped and doesn't look alive for ever.
_children: dict[int, subprocess.Popen[bytes]] = {}


class Mongod(NamedTuple):
    """A live process that serves a certain data folder."""

    pid: int
    port: int
    binary: Path


def launch(binary: Path, data: Path, port: int, options: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start mongod on `data` (absolute) and `port`; it outlives its starter, whose Ctrl-C it doesn't see.

    What it says before its log is open (a missing library) is appended to `log` too. Raises StorageError
    where the program cannot be run or the log not be written.
    """
    # The folder and the port come first and together: by them `recognise` finds the process again.
    command = [str(binary), "--dbpath", str(data), "--port", str(port), *options]
    try:
        with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as output:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=data,
                # A locale that isn't installed makes mongod abort.
                env={**os.environ, "LC_ALL": "C"},
                start_new_session=True,
            )
    except OSError as error:
        raise StorageError(f"cannot run {binary}: {error.strerror or error}") from error
    _children[child.pid] = child
    return child


def recognise(pid_files: Iterable[Path], data: Path) -> Mongod | None:
    """The live mongod that serves `data`, if one of the files holds its process id.

    A number in a file proves nothing: after a crash or a reboot it may belong to any other process. What
    counts is that the process was started on this folder.
    """
    for file in pid_files:
        pid = _read_number(file)
        if pid is None or not is_alive(pid):
            continue
        pattern = rf"(?P<binary>.+?) --dbpath {re.escape(str(data))} --port (?P<port>\d+)(?: |$)"
        found = re.match(pattern, _command_line(pid))
        if found:
            return Mongod(pid, int(found["port"]), Path(found["binary"]))
    return None


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and only waits to be reaped doesn't."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]  # reaped; in a process that was forked since the launch, only somebody else's
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
        # While other threads are still ending, the process holds its port and files.
        return state not in {"Z", "X"} or len(os.listdir(_PROC / str(pid) / "task")) > 1
    except (OSError, IndexError):
        return True  # not Linux, or gone a moment ago: the next look tells


def why_it_ended(log: Path, offset: int, returncode: int) -> str:
    """Why mongod ended, in one line: its first complaint in `log` after byte `offset`, else its exit code."""
    lines = _read_from(log, offset).splitlines()
    entries = [_json_entry(line) for line in lines]
    plain = [line.strip() for line, entry in zip(lines, entries, strict=True) if not entry and line.strip()]
    severe = [_complaint(entry) for entry in entries if entry.get("s") in {"E", "F"}]
    for line in plain:
        library = _MISSING_LIBRARY.search(line)
        if library:
            return f"the system library {library[1]} is missing: {_install_hint(library[1])}"
    for text in severe:
        if "No space left on device" in text:
            return f"the disk is full: free some space ({text})"
    if severe or plain:
        return (severe or plain)[0]
    if returncode == -signal.SIGILL:
        return "this processor lacks instructions that the program needs: set AMPEL_MONGOD or AMPEL_MONGO_URI"
    return f"killed by signal {-returncode}" if returncode < 0 else f"exit code {returncode}"


def _install_hint(library: str) -> str:
    if library.startswith("libcurl.so.4"):
        return "apt-get install libcurl4 (Debian 13: libcurl4t64)"
    return "install the package of your system that holds it, or set AMPEL_MONGOD or AMPEL_MONGO_URI"


def _read_number(file: Path) -> int | None:
    try:
        number = int(file.read_text())
    except (OSError, ValueError):
        return None
    return number if number > 0 else None  # the others stand for groups of processes


def _command_line(pid: int) -> str:
    try:
        if _PROC.joinpath("self").exists():
            raw = (_PROC / str(pid) / "cmdline").read_bytes()
            return os.fsdecode(raw.replace(b"\0", b" "))
        shown = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, check=False)
        return os.fsdecode(shown.stdout).strip()
    except OSError:
        return ""


def _read_from(log: Path, offset: int) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(offset)
            return file.read(_LOG_EXCERPT).decode(errors="replace")
    except OSError:
        return ""


def _json_entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _complaint(entry: Mapping[str, Any]) -> str:
    """What a log entry says, with the detail that mongod puts in one of three places."""
    details = entry.get("attr", {})
    error, message = details.get("error"), details.get("message")
    if isinstance(message, Mapping):  # from the storage engine
        detail = f"{message.get('msg')}: {message.get('error_str')}"
    elif isinstance(error, Mapping):
        detail = str(error.get("errmsg", error))
    else:
        detail = str(error or message or "")
    text = f"{entry.get('msg', '')}: {detail}" if detail else str(entry.get("msg", ""))
    return " ".join(text.split())[:400]
