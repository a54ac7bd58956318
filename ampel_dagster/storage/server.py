"""The embedded database: one real mongod for each instance folder, shared by all processes of the instance.

It listens on loopback only and asks for no password: whoever may log in to the machine may read it.

::

    <instance>/mongo/db/          the data
                     mongod.log   appended; put aside as mongod.log.1 by a start that finds it large
                     mongod.pid   written by mongod itself
                     port         chosen once, so that the address stays the same
                     lock         held while somebody starts or stops the server
"""

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from ampel_dagster.model.errors import StorageError
from ampel_dagster.storage.mongod_binary import find_mongod
from ampel_dagster.storage.mongod_process import (
    FOLDER_TAKEN,
    PORT_TAKEN,
    Mongod,
    is_alive,
    launch,
    recognise,
    why_it_ended,
)

__all__ = ["EmbeddedServer", "ServerStatus", "find_mongod"]

_HOST = "127.0.0.1"
#: Starts that are tried while a port or the data folder turns out to belong to somebody else.
_ATTEMPTS = 5
#: Pause between two looks at a process or port (seconds).
_POLL_S = 0.02
#: How long a server that accepts connections may take to answer (seconds).
_ANSWER_S = 5.0
#: The same for one of many tries (seconds); short, as a process that is being killed may still accept.
_TRY_S = 1.0
#: How long the system may take to remove a killed process (seconds).
_KILL_S = 10.0
#: How long a killed server may take to release its port (seconds).
_RELEASE_S = 3.0
#: From this size on (bytes) the log is put aside before a start.
_LARGE_LOG = 20_000_000
#: With less room mongod does not even start: it makes room for its journal first (MB).
_LEAST_FREE_MB = 110
_DEFAULT_CACHE_GB = 1.0
#: The least that mongod accepts.
_SMALLEST_CACHE_GB = 0.25


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known about the server of an instance at one moment."""

    #: It answers.
    running: bool
    #: Its process; set while `running` is false: it is starting, recovering, or hangs.
    pid: int | None
    #: Where it listens, or will listen after the next start; None before the first.
    port: int | None
    #: Its address, None where it isn't running.
    uri: str | None
    log: Path
    #: Version of mongod, None where it isn't running or doesn't tell.
    version: str | None
    #: The program that runs, or would run; None where none is found.
    binary: Path | None


class EmbeddedServer:
    """The mongod of one instance folder.

    `env` is where AMPEL_MONGOD (path of the program), AMPEL_MONGOD_CACHE_GB (size of its cache in GB) and
    PATH are looked up.
    """

    def __init__(self, instance: Path, env: Mapping[str, str] = os.environ) -> None:
        if os.name != "posix":
            raise StorageError("the embedded database needs Linux or macOS: set AMPEL_MONGO_URI")
        self._env = env
        self.folder = Path(instance).resolve() / "mongo"
        self.log = self.folder / "mongod.log"
        self._data = self.folder / "db"
        self._pid_file = self.folder / "mongod.pid"
        self._port_file = self.folder / "port"

    @property
    def uri(self) -> str | None:
        """Address of the server, None where it isn't running."""
        return self.status().uri

    def status(self) -> ServerStatus:
        """Look, without changing anything."""
        found = self._find()
        answers = found is not None and _ping(found.port, _ANSWER_S)
        return ServerStatus(
            running=answers,
            pid=found.pid if found else None,
            port=found.port if found else self._kept_port(),
            uri=_uri(found.port) if found and answers else None,
            log=self.log,
            version=_version(found.port) if found and answers else None,
            binary=found.binary if found else self._binary_or_none(),
        )

    def start(self, timeout_s: float = 60.0) -> str:
        """Make sure that the server runs and answers; return its address.

        The server outlives the caller, also one that is killed. After a crash of mongod the data are
        recovered from its journal. Raises StorageError where there is no mongod, where it ends at once (with
        its reason), or where it doesn't answer within `timeout_s` seconds; then it goes on starting.
        """
        deadline = time.monotonic() + timeout_s
        reason = "its process vanished"
        with self._locked():
            for _ in range(_ATTEMPTS):
                running = self._find()
                if running is not None:
                    self._keep(running)
                    if self._becomes_ready(running.pid, running.port, deadline):
                        return _uri(running.port)
                    continue  # it was just ending
                port = self._port_for_start()
                offset = self._log_size()
                child = self._launch(port)
                if self._becomes_ready(child.pid, port, deadline):
                    return _uri(port)
                code = child.wait()
                reason = why_it_ended(self.log, offset, code)
                free_mb = shutil.disk_usage(self.folder).free // 1_000_000
                if free_mb < _LEAST_FREE_MB and "disk is full" not in reason:
                    # There is no room for what it would have said.
                    reason = f"the disk is full ({free_mb} MB are free in {self.folder}): free some space"
                # Taken by a foreign process: the next attempt uses another port. Or by our own server, whose
                # starter was killed before anybody knew of it: the next attempt finds it.
                if code not in (PORT_TAKEN, FOLDER_TAKEN):
                    break
        raise StorageError(f"mongod did not start: {reason} (log: {self.log})")

    def stop(self, timeout_s: float = 30.0) -> bool:
        """End the server in good order, after `timeout_s` seconds by force; return whether one was running.

        Raises StorageError where the process belongs to somebody else, or doesn't even react to force.
        """
        if not self.folder.is_dir():
            return False
        with self._locked():
            running = self._find()
            if running is None:
                self._pid_file.unlink(missing_ok=True)
                return False
            ended = _end(running.pid, signal.SIGTERM, timeout_s) or _end(running.pid, signal.SIGKILL, _KILL_S)
            if not ended:
                raise StorageError(f"mongod (process {running.pid}) does not end, not even by force")
            self._pid_file.unlink(missing_ok=True)
            return True

    def revive(self) -> None:
        """Start the server again if it crashed; one that was stopped in good order stays so. Raises StorageError."""
        if self.folder.is_dir() and self._crashed():
            self.start()

    def _find(self) -> Mongod | None:
        # mongod.lock is mongod's own and names the owner of the data folder; mongod.pid is written earlier,
        # but also by a second mongod that then finds the folder taken.
        return recognise((self._data / "mongod.lock", self._pid_file), self._data)

    def _keep(self, running: Mongod) -> None:
        """Mend the notes about a server that was found otherwise than by them, and drop stale ones."""
        for file, value in ((self._pid_file, running.pid), (self._port_file, running.port)):
            if _read(file) != str(value):
                _write(file, f"{value}\n")

    def _launch(self, port: int) -> Popen[bytes]:
        cache_gb = self._cache_gb()
        binary = find_mongod(self._env)
        options = [
            *("--bind_ip", _HOST, "--nounixsocket"),
            *("--pidfilepath", str(self._pid_file)),
            *("--logpath", str(self.log), "--logappend", "--logRotate", "reopen", "--quiet"),
            *("--wiredTigerCacheSizeGB", str(cache_gb)),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]
        self._pid_file.unlink(missing_ok=True)  # of a process that is no more, or is another's by now
        return launch(binary, self._data, port, options, self.log)

    def _becomes_ready(self, pid: int, port: int, deadline: float) -> bool:
        """Wait until the server answers; False where its process ends before."""
        while is_alive(pid):
            if _ping(port, _TRY_S):
                return True
            if time.monotonic() > deadline:
                raise StorageError(
                    f"mongod (process {pid}) runs but does not answer on port {port}; "
                    f"it may still be recovering its data: try again, or see {self.log}"
                )
            time.sleep(_POLL_S)
        return False

    def _port_for_start(self) -> int:
        """The kept port, or a new one where none was kept or somebody else listens there."""
        kept = self._kept_port()
        if kept is not None and self._crashed():
            # A killed mongod still holds its port for a moment, and others know the address.
            deadline = time.monotonic() + _RELEASE_S
            while _free_port(kept) is None and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        port = _free_port(kept) if kept is not None else None
        if port is None:
            port = _free_port(0)
            if port is None:
                raise StorageError(f"there is no free port on {_HOST} for the embedded database")
            _write(self._port_file, f"{port}\n")
        return port

    def _crashed(self) -> bool:
        """Whether the last mongod did not end in good order: then it would have emptied its lock file."""
        return bool(_read(self._data / "mongod.lock"))

    def _kept_port(self) -> int | None:
        text = _read(self._port_file)
        return int(text) if text.isdecimal() and 0 < int(text) < 65536 else None

    def _log_size(self) -> int:
        """Size of the log before a start, which first puts a large one aside."""
        if not self.log.exists():
            return 0
        size = self.log.stat().st_size
        if size < _LARGE_LOG:
            return size
        self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        return 0

    def _cache_gb(self) -> float:
        text = self._env.get("AMPEL_MONGOD_CACHE_GB") or str(_DEFAULT_CACHE_GB)
        try:
            size = float(text)
        except ValueError:
            size = 0.0
        if not _SMALLEST_CACHE_GB <= size <= 10_000:
            raise StorageError(f"AMPEL_MONGOD_CACHE_GB={text} is not a size in GB, at least {_SMALLEST_CACHE_GB}")
        return size

    def _binary_or_none(self) -> Path | None:
        try:
            return find_mongod(self._env)
        except StorageError:
            return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the server's folder, after whoever starts or stops the server just now."""
        import fcntl  # not on Windows, where this module must load all the same

        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._data.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(_unwritable(self.folder, error)) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise StorageError(_unwritable(self.folder, error)) from error
        finally:
            # Explicitly: a process that was forked meanwhile would keep the lock with its copy of the file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _uri(port: int) -> str:
    return f"mongodb://{_HOST}:{port}"


def _free_port(port: int) -> int | None:
    """The port itself (for 0: any) if nobody listens there, else None."""
    with socket.socket() as probe:
        # As mongod does: connections of an earlier server that are still closing are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def _ping(port: int, timeout_s: float) -> bool:
    try:
        # Where nobody listens this fails at once, whereas a client would wait.
        socket.create_connection((_HOST, port), timeout=timeout_s).close()
        with _client(port, timeout_s) as client:
            client.admin.command("ping")
    except (OSError, PyMongoError):
        return False
    return True


def _version(port: int) -> str | None:
    try:
        with _client(port, _ANSWER_S) as client:
            return str(client.server_info()["version"])
    except PyMongoError:
        return None


def _client(port: int, timeout_s: float) -> MongoClient[dict[str, object]]:
    limit = int(timeout_s * 1000)
    return MongoClient(
        _HOST,
        port,
        directConnection=True,
        serverSelectionTimeoutMS=limit,
        connectTimeoutMS=limit,
        socketTimeoutMS=limit,
    )


def _end(pid: int, how: signal.Signals, timeout_s: float) -> bool:
    """Send a signal and wait; True once the process is gone."""
    deadline = time.monotonic() + timeout_s
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise StorageError(f"mongod (process {pid}) belongs to another user: that user must stop it") from error
    while is_alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _write(file: Path, text: str) -> None:
    """Replace a small file at once, so that a reader without the lock never sees half of it."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(text)
    fresh.replace(file)


def _unwritable(folder: Path, error: OSError) -> str:
    return f"the database's folder {folder} cannot be used: {error.strerror or error}"
