"""The nouns of the platform: plain frozen values, no input or output.

Import them from their own file: ``from ampel_dagster.model.alert import Alert``.
"""
