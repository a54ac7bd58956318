"""Connecting by address: dates in UTC, errors in one line, secrets never shown."""

import shutil
from datetime import UTC, datetime

import pytest

from ampel_dagster.model.errors import StorageError
from ampel_dagster.storage.connect import connect, redact
from ampel_dagster.storage.server import EmbeddedServer, find_mongod

SECRET = "s3cretPw"  # no real one


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    server = EmbeddedServer(tmp_path_factory.mktemp("instance"))
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)  # pytest would keep it, with some 200 MB of journal


@pytest.fixture
def uri_with_login(tmp_path):
    wrapper = tmp_path / "mongod"
    wrapper.write_text(f'#!/bin/sh\nexec {find_mongod()} "$@" --auth\n')
    wrapper.chmod(0o755)
    server = EmbeddedServer(tmp_path, {"AMPEL_MONGOD": str(wrapper)})
    try:
        uri = server.start()
        with connect(uri) as client:  # the first user may be made without a login
            client.admin.command("createUser", "reader", pwd=SECRET, roles=["readAnyDatabase"])
        yield uri
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)  # pytest would keep it, with some 200 MB of journal


def failure(uri):
    with pytest.raises(StorageError) as caught:
        connect(uri, timeout_s=0.3)
    message = str(caught.value)
    assert "\n" not in message
    assert "AMPEL_MONGO_URI" in message
    assert SECRET not in message
    return message


def test_dates_are_utc(uri):
    now = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    with connect(uri) as client:
        client.test.dates.insert_one({"_id": 1, "at": now})
        read = client.test.dates.find_one()["at"]
    assert read == now
    assert read.tzinfo is UTC


def test_says_who_it_is(uri):
    with connect(uri) as client:
        operations = list(client.admin.aggregate([{"$currentOp": {"localOps": True}}]))
        assert "ampel_dagster" in {operation.get("appName") for operation in operations}


def test_nobody_there():
    message = failure(f"mongodb://user:{SECRET}@127.0.0.1:1/?authSource=admin")
    assert message.startswith("no answer from the database at mongodb://***:***@127.0.0.1:1/?authSource=admin")
    assert "within 0.3 s (127.0.0.1:1: [Errno " in message


def test_unknown_host():
    assert "no answer" in failure(f"mongodb://user:{SECRET}@database.invalid")


def test_login_refused(uri):
    message = failure(uri.replace("://", f"://user:{SECRET}@"))
    assert "refuses the login: check user, password" in message


def test_login_wanted(uri_with_login):
    assert "wants a login" in failure(uri_with_login)
    with connect(uri_with_login.replace("://", f"://reader:{SECRET}@")) as client:
        assert client.some.things.find_one() is None


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("", "(empty): Invalid URI scheme"),
        ("localhost:27017", "must begin with 'mongodb://'"),
        (f"http://user:{SECRET}@host", "must begin with 'mongodb://'"),
        ("mongodb://", "Must provide at least one hostname"),
        ("mongodb://host:99999", "Port must be an integer"),
        (f"mongodb://user:{SECRET}@", "Empty host"),
        (f"mongodb://user:{SECRET}", "Port contains non-digit characters"),
        (f"mongodb://user:a@{SECRET}@host", "must be percent-encoded"),
        (f"mongodb://user:a/{SECRET}@host", "must be percent-encoded"),
        (f"mongodb://user:{SECRET}%@host", "must be percent-encoded"),
        (f"mongodb://user:{SECRET}@host/?maxPoolSize=many", "The value of maxpoolsize must be an integer"),
        (f"mongodb://user:{SECRET}@host/?nonsense=1", "Unknown option"),
        (f"mongodb://user:{SECRET}@host/?tls=true&tlsCAFile=/absent", "[Errno 2]"),
        (f"mongodb://a,b/?directConnection=true&tlsCertificateKeyFilePassword={SECRET}", "multiple hosts"),
        (f"mongodb+srv://user:{SECRET}@host.example.org:27017", "must not include a port"),
    ],
)
def test_wrong_address(address, told):
    message = failure(address)
    assert message.startswith("wrong database address ")
    assert told in message


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("mongodb://127.0.0.1:27017", "mongodb://127.0.0.1:27017"),
        ("mongodb://[::1]:27017/db?w=1", "mongodb://[::1]:27017/db?w=1"),
        ("mongodb://a:1,b:2/?replicaSet=rs0", "mongodb://a:1,b:2/?replicaSet=rs0"),
        ("mongodb+srv://u:pw@host/db", "mongodb+srv://***:***@host/db"),
        ("mongodb://u@host", "mongodb://***@host"),
        ("mongodb://u:p://x@y/z?@host:1", "mongodb://***:***@host:1"),
        ("u:pw@host", "***:***@host"),
        ("u:p://w@host", "***:***@host"),
        ("mongodb://u:pw", "mongodb://u:***"),
        ("mongodb://h/?proxyPassword=pw&w=1", "mongodb://h/?proxyPassword=***&w=1"),
        (
            "mongodb://h/?w=1&authMechanismProperties=AWS_SESSION_TOKEN:pw",
            "mongodb://h/?w=1&authMechanismProperties=***",
        ),
        ("", ""),
    ],
)
def test_redact(address, shown):
    assert redact(address) == shown
    assert redact(shown) == shown
