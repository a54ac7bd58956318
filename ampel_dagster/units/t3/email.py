"""Mail a digest of the objects."""

import smtplib
import ssl
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from html import escape
from typing import Any, Literal

from pydantic import Field

from ampel_dagster.model.errors import BusyError, RefusedError, SendError
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.base import BulkPublisher
from ampel_dagster.units.t3._columns import Paths
from ampel_dagster.units.t3._message import as_text, picture, short, values

_TEMPORARY = range(400, 500)


class Email(BulkPublisher):
    """Mail a table of the objects, as text and HTML, with their light curves as pictures.

    One mail is about `batch` objects. It is handed to an SMTP server (RFC 5321): with `starttls` or `tls` the server's
    certificate is checked. A server that cannot be reached, or answers 4yz, is tried again; 5yz and a wrong login are a
    refusal. Pictures need matplotlib (extra `plot`).
    """

    host: str = Field(min_length=1, description="the mail server")
    port: int = Field(587, ge=1, le=65535, description="its port")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="none: for servers on this machine only"
    )
    user: str | None = Field(None, description="login; none: without one")
    password: str | None = Field(None, description="name of the secret that holds the password")
    sender: str = Field(pattern=r"@", description="address that the mail is from")
    to: tuple[str, ...] = Field(min_length=1, description="addresses that it goes to")
    subject: str = Field("{channel}: {n} objects of {night}", description="with {channel}, {night}, {process}, {n}")
    columns: Paths = Field(("name", "ra_deg", "dec_deg"), min_length=1, description="columns of the table, by path")
    pictures: int = Field(5, ge=0, description="light curves that are attached, of the first objects")

    @property
    def paths(self) -> Sequence[str]:
        """The columns."""
        return self.columns

    def send_many(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[int, str | SendError]:
        """Send one mail about all of them."""
        message = self.message(views, context)
        try:
            answer = self._hand_over(message, context)
        except (OSError, smtplib.SMTPException) as error:
            raise _meaning(error) from None
        return {view.stock: answer for view in views}

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """Subject and text."""
        message = self.message(views, context, pictures=False)
        body = message.get_body(("plain",))
        return f"To: {message['To']}\nSubject: {message['Subject']}\n\n{body.get_content() if body else ''}"

    def message(
        self, views: Sequence[TransientView], context: ReactionContext, *, pictures: bool = True
    ) -> EmailMessage:
        """The mail."""
        about = {"channel": context.channel, "night": context.night, "process": context.process, "n": len(views)}
        rows = [values(view, self.columns) for view in views]
        message = EmailMessage()
        message["Subject"] = self.subject.format(**about)
        message["From"], message["To"] = self.sender, ", ".join(self.to)
        message["Date"], message["Message-ID"] = formatdate(context.now.timestamp()), make_msgid(domain="ampel-dagster")
        link = f"\n\nRun: {context.ui_url}/runs/{context.run}" if context.ui_url else f"\n\nRun: {context.run}"
        message.set_content(as_text(rows) + link + "\n")
        message.add_alternative(_html(rows, link), subtype="html")
        for view in views[: self.pictures if pictures else 0]:
            png = picture(view)
            if png:
                message.add_attachment(png, maintype="image", subtype="png", filename=f"{view.name}.png")
        return message

    def _hand_over(self, message: EmailMessage, context: ReactionContext) -> str:
        checked = ssl.create_default_context()
        if self.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout_s, context=checked)
        else:
            server = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        with server:
            if self.security == "starttls":
                server.starttls(context=checked)
            if self.user is not None:
                server.login(self.user, context.secret(self.password) if self.password else "")
            refused = server.send_message(message)
        return f"handed over to {self.host}" + (f"; refused for {', '.join(sorted(refused))}" if refused else "")


def _meaning(error: Exception) -> Exception:
    """What an error of the conversation means for the mail."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return RefusedError(f"the server refuses the login ({error.smtp_code})")
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return _by_code(code, said)
    if isinstance(error, smtplib.SMTPResponseException):
        return _by_code(error.smtp_code, error.smtp_error)
    if isinstance(error, ConnectionRefusedError | smtplib.SMTPConnectError):
        return BusyError(f"nobody answers ({type(error).__name__})")
    if isinstance(error, ssl.SSLError | smtplib.SMTPNotSupportedError):
        return RefusedError(f"no safe connection: {type(error).__name__}")
    return error  # a time-out or a broken line: it may have arrived


def _by_code(code: int, said: Any) -> SendError:
    text = f"{code} {said.decode(errors='replace') if isinstance(said, bytes) else said}"[:200]
    return BusyError(text) if code in _TEMPORARY else RefusedError(text)


def _html(rows: Sequence[Mapping[str, Any]], link: str) -> str:
    names = list(rows[0]) if rows else []
    head = "".join(f"<th align='left'>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{escape(short(row[n]))}</td>' for n in names)}</tr>" for row in rows)
    return f"<table cellpadding='4'><tr>{head}</tr>{body}</table><p>{escape(link.strip())}</p>"
