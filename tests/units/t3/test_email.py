"""Email: what is mailed, and what the mail server's answers mean."""

import base64
import socket
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from ampel_dagster.model.errors import BusyError, RefusedError
from ampel_dagster.units.t3.email import Email
from tests.units.t3.receivers import SECRET, Post, context, post_office, seen


@pytest.fixture
def post() -> Iterator[Post]:
    with post_office() as found:
        yield found


def email(post: Post, **config: Any) -> Email:
    settings = {"host": "127.0.0.1", "port": post.port, "security": "none", "sender": "ampel@example.org"}
    return Email(**{**settings, "to": ["a@example.org", "b@example.org"], **config})


def mail(post: Post) -> EmailMessage:
    (raw,) = post.mails
    found = message_from_bytes(raw, policy=default)
    assert isinstance(found, EmailMessage)
    return found


def test_one_mail_for_all(post: Post) -> None:
    unit = email(post, columns=["name", "fit.chi2"], pictures=1, user="me", password="KEY")
    answers = unit.send_many([seen("ZTF<1>", 1, chi2=1.25), seen("ZTF2", 2)], context())
    assert answers == {1: "handed over to 127.0.0.1", 2: "handed over to 127.0.0.1"}
    message = mail(post)
    assert (message["To"], message["Subject"]) == ("a@example.org, b@example.org", "BRIGHT: 2 objects of 2018-08-19")
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert text.get_content().splitlines()[:3] == ["name    fit.chi2", "ZTF<1>  1.25", "ZTF2    –"]
    assert "<td>ZTF&lt;1&gt;</td><td>1.25</td>" in html.get_content()
    (picture,) = message.iter_attachments()
    assert (picture.get_filename(), picture.get_content_type()) == ("ZTF<1>.png", "image/png")
    assert picture.get_content().startswith(b"\x89PNG")
    (login,) = [line for line in post.commands if line.startswith("AUTH")]
    assert base64.b64decode(login.split()[2]).decode() == f"\0me\0{SECRET}"
    assert [line for line in post.commands if line.startswith("rcpt")] == [
        "rcpt TO:<a@example.org>",
        "rcpt TO:<b@example.org>",
    ]


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ({"RCPT": "550 no such user"}, RefusedError),
        ({"RCPT": "451 later"}, BusyError),
        ({"MAIL": "421 too many"}, BusyError),
        ({"AUTH": "535 wrong password"}, RefusedError),
        ({"END": "554 spam"}, RefusedError),
        ({"END": "452 full"}, BusyError),
    ],
)
def test_what_an_answer_means(post: Post, replies: dict[str, str], error: type[Exception]) -> None:
    post.replies = replies
    with pytest.raises(error) as told:
        email(post, user="me", password="KEY").send_many([seen("A")], context())
    assert SECRET not in str(told.value)


def test_line_that_breaks_after_the_mail(post: Post) -> None:
    """It may have arrived."""
    post.replies = {"END": "hang up"}
    with pytest.raises(Exception, match=r"(?i)connection") as told:
        email(post).send_many([seen("A")], context())
    assert not isinstance(told.value, BusyError | RefusedError)


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BusyError, match="nobody answers"):
        email(Post(port)).send_many([seen("A")], context())


def test_without_encryption_where_the_server_has_none(post: Post) -> None:
    with pytest.raises(RefusedError, match="no safe connection"):
        email(post, security="starttls").send_many([seen("A")], context())
    assert post.mails == []


def test_preview(post: Post) -> None:
    assert "Subject: BRIGHT: 1 objects of 2018-08-19" in email(post).preview([seen("A")], context())
    assert post.commands == []
