"""Where the ingester's time goes: CPU of its threads by stage, each without what it calls of another stage."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import local
from time import thread_time
from typing import Any

from ampel_dagster.instruments import ztf
from ampel_dagster.instruments.avro_container import ContainerReader, Record
from ampel_dagster.pipeline import ingest, t1_write
from ampel_dagster.pipeline.t0_ingest import _Judge
from ampel_dagster.pipeline.t1_combine import Combiner
from ampel_dagster.storage.batches import Batches
from ampel_dagster.storage.ledger import Ledger
from ampel_dagster.storage.points import Points
from ampel_dagster.storage.states import States
from ampel_dagster.storage.stocks import Stocks
from ampel_dagster.storage.tickets import Tickets

#: Functions by stage. One that is no longer there ends the benchmark with an AttributeError.
STAGES: dict[str, tuple[tuple[Any, str], ...]] = {
    "decode": ((Record, "part"), (ContainerReader, "_layout"), (ztf, "read_points")),
    "judge": ((_Judge, "batch"),),
    "look up alerts": ((Ledger, "prior"), (Ledger, "latest"), (Ledger, "first_accepted")),
    "look up stocks and points": (
        *((Stocks, "seen"), (Points, "rows_of_stocks"), (Points, "rows_by_id"), (ingest, "part")),
        *((States, "known"), (States, "load"), (Tickets, "known")),
    ),
    "decide about points": ((ingest, "store_points"),),
    "encode and insert points": ((Points, "insert"),),
    "make states": ((Combiner, "combine"), (Combiner, "fresh"), (Combiner, "grown")),
    "write states and tickets": ((t1_write, "_write_states"), (t1_write, "_write_tickets")),
    "write stocks": ((ingest, "store_stocks"),),
    "write alerts": ((ingest, "store_alerts"), (ingest, "store_rest")),
    "open and close batches": ((Batches, "open"), (Batches, "close"), (Batches, "unfinished"), (Batches, "overtake")),
}
_REST = "all else"


@contextmanager
def staged() -> Iterator[Counter[str]]:
    """Count CPU seconds by stage meanwhile; the clock itself costs some 3 % of them."""
    found: Counter[str] = Counter()
    running = local()
    before = [(owner, name, getattr(owner, name)) for where in STAGES.values() for owner, name in where]
    for stage, where in STAGES.items():
        for owner, name in where:
            setattr(owner, name, _timed(getattr(owner, name), stage, found, running))
    try:
        yield found
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def _timed(function: Callable[..., Any], stage: str, found: Counter[str], running: local) -> Callable[..., Any]:
    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        outer, running.inner = getattr(running, "inner", 0.0), 0.0
        began = thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent = thread_time() - began
            found[stage] += spent - running.inner
            running.inner = outer + spent

    return timed


def shares(found: Counter[str], cpu_py_s: float, cpu_mongod_s: float, n: int) -> dict[str, float]:
    """Microseconds an item by stage; what no stage has is 'all else', the server comes last."""
    rest = max(cpu_py_s - sum(found.values()), 0.0)
    seconds = {**{stage: found[stage] for stage in STAGES}, _REST: rest, "mongod": cpu_mongod_s}
    return {stage: round(s / n * 1e6, 1) for stage, s in seconds.items()}
