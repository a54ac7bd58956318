"""Dagster assets and jobs: thin, over the functions of `ampel_dagster.pipeline`."""
