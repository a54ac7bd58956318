"""Dagster resources: the database, the IO manager, the instance."""
