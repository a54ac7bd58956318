"""What works on this machine, but could work better."""

from ampel_dagster.instruments.avro_container import compiled


def advice() -> list[str]:
    """Lines for people; none where all is as it should be."""
    if compiled():
        return []
    return [
        "packets are read by fastavro, which takes several times as long as the compiled reader: there was no C"
        " compiler when the project was installed; install one (gcc) and then the project again"
    ]
