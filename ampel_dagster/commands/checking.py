"""``check`` and ``init``."""

from pathlib import Path
from shlex import quote
from shutil import copytree, ignore_patterns

from rich.markup import escape

from ampel_dagster.commands.session import out
from ampel_dagster.config.advice import advice
from ampel_dagster.config.instance import CONFIG_FOLDERS, copy_demo, locate, packaged_demo
from ampel_dagster.config.load import load
from ampel_dagster.model.errors import UserError


def check() -> None:
    """Load and build everything."""
    instance = locate()
    config = load(instance.folder)
    parts = [
        f"{len(config.channels)} channels",
        f"{len(config.products)} products",
        f"{len(config.processes)} processes",
        f"{len(config.streams)} streams",
    ]
    out.print(f"{escape(str(instance.folder))}: all is well ({', '.join(parts)})", soft_wrap=True)
    for line in advice():
        out.print(escape(line), soft_wrap=True)


def init(folder: Path) -> None:
    """Make an instance."""
    folder = folder.expanduser().resolve()
    if any((folder / name).exists() for name in (*CONFIG_FOLDERS, "dagster.yaml")):
        raise UserError(f"{folder} holds an instance already; choose another folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; choose another folder")
    try:
        if folder.is_dir():
            # Into it, not in its place: somebody may stand in it.
            copytree(packaged_demo(), folder, ignore=ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            copy_demo(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror or error}; choose another folder") from None
    out.print(f"{escape(str(folder))}: made. Edit channels/*.yaml, then:", soft_wrap=True)
    out.print(f"  export AMPEL_INSTANCE={escape(quote(str(folder)))}\n  ampel-dagster check", soft_wrap=True)
