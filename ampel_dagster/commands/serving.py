"""``mongo`` and ``dev``."""

import os
import sys
from shutil import which

from rich.markup import escape

from ampel_dagster.commands.session import console, enter, out
from ampel_dagster.config.instance import Instance, locate
from ampel_dagster.config.load import load
from ampel_dagster.model.errors import UserError
from ampel_dagster.storage.access import open_store
from ampel_dagster.storage.server import EmbeddedServer


def start() -> None:
    """Start the embedded server."""
    out.print(f"runs at {_server().start()}")


def stop() -> None:
    """Stop the embedded server."""
    out.print("stopped" if _server().stop() else "was not running")


def status() -> None:
    """State of the embedded server."""
    found = _server().status()
    if found.running:
        out.print(f"runs at {found.uri} (process {found.pid}); log: {escape(str(found.log))}", soft_wrap=True)
    else:
        out.print("does not run; `ampel-dagster mongo start` starts it")


def _server() -> EmbeddedServer:
    if os.environ.get("AMPEL_MONGO_URI"):
        raise UserError("AMPEL_MONGO_URI is set: the database is not ours to start or stop")
    return EmbeddedServer(locate().folder)


def dev(host: str, port: int) -> None:
    """Become `dagster dev` with the instance as its home."""
    instance = locate()
    config = load(instance.folder)
    open_store(instance.folder).close()
    for survey in config.surveys:
        landing = config.stream(survey).landing
        if landing:
            instance.path(landing.folder).mkdir(parents=True, exist_ok=True)
    enter(instance)
    os.environ["AMPEL_UI_URL"] = f"http://{host}:{port}"
    where = f"http://{host}:{port}  (instance {escape(str(instance.folder))}; stop with Ctrl-C)"
    console.print(f"Dagster UI: {where}", soft_wrap=True)
    program = os.path.join(os.path.dirname(sys.executable), "dagster")
    program = program if os.path.exists(program) else which("dagster") or program
    os.execv(program, [program, "dev", *_code(instance), "-h", host, "-p", str(port)])  # noqa: S606


def _code(instance: Instance) -> list[str]:
    """Options that say what to load: the instance's workspace, if it has one."""
    workspace = instance.folder / "workspace.yaml"
    return ["-w", str(workspace)] if workspace.is_file() else ["-m", "ampel_dagster.definitions"]
