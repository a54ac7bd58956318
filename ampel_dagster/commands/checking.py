"""``check`` and ``init``."""

from pathlib import Path

from ampel_dagster.commands.session import out
from ampel_dagster.config.instance import CONFIG_FOLDERS, copy_demo, locate
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
    out.print(f"{instance.folder}: all is well ({', '.join(parts)})")


def init(folder: Path) -> None:
    """Make an instance."""
    folder = folder.expanduser().resolve()
    if any((folder / name).exists() for name in (*CONFIG_FOLDERS, "dagster.yaml")):
        raise UserError(f"{folder} holds an instance already; choose another folder")
    if folder.is_dir():
        if any(folder.iterdir()):
            raise UserError(f"{folder} is not empty; choose another folder")
        folder.rmdir()
    copy_demo(folder)
    out.print(f"{folder}: made. Edit channels/*.yaml, then:\n  export AMPEL_INSTANCE={folder}\n  ampel-dagster check")
