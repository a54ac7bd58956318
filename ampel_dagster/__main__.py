"""``python -m ampel_dagster``."""

from ampel_dagster.cli import main

main()
