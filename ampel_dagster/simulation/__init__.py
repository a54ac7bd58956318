"""A small made-up survey: objects, exposures and packets, all functions of one seed.

The public face is `ampel_dagster.testing`.
"""
