"""The four tiers as plain functions over model, units and storage; no Dagster."""
