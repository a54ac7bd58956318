"""Servers on loopback that are told things: they keep what came, and answer as a test says."""

import socket
import socketserver
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from xml.etree import ElementTree

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.view import ReactionContext, TransientView
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit
from tests.units.t3.test_transient_table import NOW, view

SECRET = "correct horse battery staple"
CURVE = light_curve(limit(1.0, "g", 20.5), detection(2.0, "g", 19.0), detection(3.0, "r", 18.5))


def seen(name: str, stock: int = 1, curve: LightCurve = CURVE, **fit: Any) -> TransientView:
    """An object with a light curve."""
    return replace(view(name, stock, **fit), build_light_curve=lambda _: curve)


def context(folder: Path = Path("unused")) -> ReactionContext:
    """Circumstances with one secret, under the name KEY."""
    return ReactionContext(
        "daily", "BRIGHT", "2018-08-19", "run-9", NOW, folder, secret={"KEY": SECRET, "TOKEN": SECRET}.__getitem__
    )


@dataclass
class Request:
    """What came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Web:
    """A web server. `answers` are (status, headers, body), one a request; the last one stays."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"thanks")])
    #: Answers by path, which come before the others.
    routes: dict[str, Callable[[Request], bytes]] = field(default_factory=dict)
    #: While it is not set, nobody gets an answer.
    awake: Event = field(default_factory=Event)


@contextmanager
def web() -> Iterator[Web]:
    """A web server."""
    found = Web()
    found.awake.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(self.path, dict(self.headers), body)
            found.requests.append(request)
            found.awake.wait(30)
            if self.path in found.routes:
                status, headers, answer = 200, {"Content-Type": "application/json"}, found.routes[self.path](request)
            else:
                status, headers, answer = found.answers[0] if len(found.answers) == 1 else found.answers.pop(0)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815  # the name that the server looks for

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.awake.set()
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Post:
    """A mail server. `replies` are answers by command, as in {"RCPT": "550 no such user"}."""

    port: int = 0
    mails: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    replies: dict[str, str] = field(default_factory=dict)


@contextmanager
def post_office() -> Iterator[Post]:
    """A mail server that speaks as much of RFC 5321 as is needed, with AUTH PLAIN (RFC 4954)."""
    found = Post()

    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(text.encode() + b"\r\n")

        def handle(self) -> None:
            self.say("220 here")
            going = True
            while going and (line := self.rfile.readline().decode().strip()):
                found.commands.append(line)
                going = self.reply(line.split(" ")[0].split(":")[0].upper())

        def reply(self, verb: str) -> bool:
            """Answer; whether the conversation goes on."""
            said = found.replies.get(verb)
            if said == "hang up":
                return False
            usual = {"EHLO": "250-here\r\n250 AUTH PLAIN", "AUTH": "235 welcome", "QUIT": "221 bye"}
            if verb == "DATA" and said is None:
                self.data()
            else:
                self.say(said or usual.get(verb, "250 fine"))
            return verb != "QUIT"

        def data(self) -> None:
            self.say("354 go on")
            lines = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line)
            found.mails.append(b"".join(lines))
            ending = found.replies.get("END", "250 taken")
            if ending != "hang up":
                self.say(ending)
            else:
                self.connection.shutdown(socket.SHUT_RDWR)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Network:
    """A broker of VOEvents. `fault`: 'nak', 'silent' or 'hang up' (the event is there, but no answer), or an answer."""

    address: str = ""
    events: list[bytes] = field(default_factory=list)
    fault: str = ""
    closing: Event = field(default_factory=Event)

    def answer(self, event: bytes) -> str:
        """What is said to an event; one that is here already is not wanted, as with the brokers that are in use."""
        ivorn = ElementTree.fromstring(event).get("ivorn")
        known = event in self.events
        result = (
            "Event rejected: Previously seen by this broker" if known else "Event rejected: Schema validation failed"
        )
        role = "nak" if known or self.fault == "nak" else "ack"
        meta = f"<Meta><Result>{result}</Result></Meta>" if role == "nak" else ""
        return (
            f'<?xml version="1.0"?><trn:Transport xmlns:trn="http://telescope-networks.org/schema/Transport/v1.1" '
            f'role="{role}" version="1.0"><Origin>{ivorn}</Origin><Response>ivo://org.example/broker</Response>'
            f"<TimeStamp>2018-08-20T03:00:01Z</TimeStamp>{meta}</trn:Transport>"
        )


@contextmanager
def voevent_network() -> Iterator[Network]:
    """A broker that speaks the VOEvent Transport Protocol to authors."""
    found = Network()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            event = self.rfile.read(struct.unpack(">I", self.rfile.read(4))[0])
            said = found.answer(event).encode()
            if found.fault != "nak" and event not in found.events:
                found.events.append(event)
            if found.fault == "silent":
                found.closing.wait(30)
            elif found.fault != "hang up":
                said = found.fault.encode() if found.fault not in ("", "nak") else said
                self.wfile.write(struct.pack(">I", len(said)) + said)

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    found.address = f"127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield found
    found.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def in_utc(year: int, month: int, day: int) -> datetime:
    """A day."""
    return datetime(year, month, day, tzinfo=UTC)
