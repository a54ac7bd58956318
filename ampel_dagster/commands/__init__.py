"""What the commands of the command line do; Dagster is imported by those alone that need it, when they run."""
