"""A summary of the night in a Slack channel."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from ampel_dagster.model.errors import BusyError, RefusedError, SendError
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.base import BulkPublisher
from ampel_dagster.units.t3._columns import Paths
from ampel_dagster.units.t3._http import retry_after_s
from ampel_dagster.units.t3._message import as_csv, as_text, picture, values

_INSTALL = "pip install 'ampel-dagster[notify]'"
#: Slack shows no more in one message.
_MOST_CHARACTERS = 2900
#: What Slack says where it may work later: https://api.slack.com/methods/chat.postMessage#errors
_LATER = frozenset({"ratelimited", "rate_limited", "service_unavailable", "request_timeout", "team_added_to_org"})
#: What it says where it is not known whether the message is there.
_UNKNOWN = frozenset({"internal_error", "fatal_error"})


class SlackSummary(BulkPublisher):
    """Post a message with a table of the objects, the table as CSV, and light curves as pictures.

    Uses Slack's Web API (https://api.slack.com/methods) through its own client. The secret `token` is a bot's token
    with the rights chat:write and files:write. One message is about `batch` objects. Slack's rate limit is respected.
    Files that fail after the message arrived are mentioned in the answer, and not sent again.
    """

    slack_channel: str = Field(min_length=1, description="channel's name or id; the bot must be a member")
    token: str = Field("SLACK_TOKEN", description="name of the secret that holds the bot's token")
    text: str = Field("*{channel}*: {n} objects of {night}", description="with {channel}, {night}, {process}, {n}")
    columns: Paths = Field(("name", "ra_deg", "dec_deg"), min_length=1, description="columns of the table, by path")
    csv: bool = Field(True, description="attach the table as CSV")
    pictures: int = Field(3, ge=0, le=20, description="light curves that are attached, of the first objects")
    api_url: str = Field("https://slack.com/api/", pattern=r"^https?://", description="address of the API")

    @property
    def paths(self) -> Sequence[str]:
        """The columns."""
        return self.columns

    def prepare(self, folder: Path) -> "SlackSummary":
        """Check that Slack's client is installed."""
        try:
            import slack_sdk  # noqa: F401
        except ImportError:
            raise ValueError(f"slack-sdk is not installed; {_INSTALL}") from None
        return self

    def send_many(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[int, str | SendError]:
        """Post one message about all of them."""
        from slack_sdk import WebClient
        from slack_sdk.errors import SlackApiError

        client = WebClient(context.secret(self.token), base_url=self.api_url, timeout=max(1, int(self.timeout_s)))
        text = self.message(views, context)
        try:
            posted = client.chat_postMessage(channel=self.slack_channel, text=text, unfurl_links=False)
        except SlackApiError as error:
            raise _meaning(error.response) from None
        except ConnectionRefusedError as error:
            raise BusyError(f"nobody answers ({type(error).__name__})") from None
        except OSError as error:
            refused = isinstance(getattr(error, "reason", None), ConnectionRefusedError)
            raise (BusyError("nobody answers") if refused else error) from None
        answer = f"{posted['channel']} {posted['ts']}"
        failed = self._files(client, posted, views)
        return {view.stock: answer + failed for view in views}

    def preview(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """The message."""
        return self.message(views, context)

    def message(self, views: Sequence[TransientView], context: ReactionContext) -> str:
        """Text of the message, in Slack's markup."""
        about = {"channel": context.channel, "night": context.night, "process": context.process, "n": len(views)}
        table = as_text([values(view, self.columns) for view in views])
        if len(table) > _MOST_CHARACTERS:
            table = table[:_MOST_CHARACTERS].rpartition("\n")[0] + "\n…"
        safe = table.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("```", "'''")
        return f"{self.text.format(**about)}\n```\n{safe}\n```"

    def _files(self, client: Any, posted: Any, views: Sequence[TransientView]) -> str:
        """Attach files to the message; returns what to say where that fails."""
        from slack_sdk.errors import SlackApiError

        files = [(f"{view.name}.png", picture(view)) for view in views[: self.pictures]]
        if self.csv:
            files.append(("objects.csv", as_csv([values(view, self.columns) for view in views]).encode()))
        uploads = [{"filename": name, "content": content, "title": name} for name, content in files if content]
        if not uploads:
            return ""
        try:
            client.files_upload_v2(channel=posted["channel"], thread_ts=posted["ts"], file_uploads=uploads)
        except SlackApiError as error:
            return f"; files: {error.response['error']}"
        except OSError as error:
            return f"; files: {type(error).__name__}"
        return ""


def _meaning(response: Any) -> Exception:
    """What Slack's answer means for the message."""
    said = str(response.get("error", "no reason given"))
    if response.status_code == 429 or said in _LATER:
        return BusyError(said, retry_after_s(response.headers.get("Retry-After")))
    if response.status_code >= 500 or said in _UNKNOWN:
        return ConnectionError(said)
    return RefusedError(said)
