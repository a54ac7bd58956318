"""T2: a worker that is alive keeps its tickets, however long it takes; one that got stuck loses them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread
from time import monotonic

from ampel_dagster.model.errors import StorageError
from ampel_dagster.model.ticket import Ticket
from ampel_dagster.storage.tickets import Tickets
from ampel_dagster.storage.writes import storage_errors

#: A lease is renewed so often before it runs out.
_RENEWALS = 3


class Leases:
    """Tickets that a worker holds at the moment."""

    def __init__(self, tickets: Tickets, lease_s: float, stuck_s: float) -> None:
        self._tickets = tickets
        self._lease_s = lease_s
        self._stuck_s = stuck_s
        self._lock = Lock()
        self._held: list[Sequence[Ticket]] = []
        self._since = monotonic()

    def hold(self, batch: Sequence[Ticket]) -> None:
        """A batch was claimed. The one before the last is written by now."""
        with self._lock:
            self._held = [*self._held[-2:], batch]
            self._since = monotonic()

    def renew(self) -> bool:
        """Hold the tickets for longer; return whether it was done: not by a worker that makes no progress."""
        with self._lock:
            held = [ticket for batch in self._held for ticket in batch]
            if not held or monotonic() - self._since > self._stuck_s:
                return False
        with storage_errors("renewing leases"):
            self._tickets.renew(held, self._lease_s)
        return True


@contextmanager
def kept(leases: Leases, lease_s: float) -> Iterator[None]:
    """Renew leases, in a thread, as long as the block lasts."""
    over = Event()

    def beat() -> None:
        while not over.wait(lease_s / _RENEWALS):
            try:
                leases.renew()
            except StorageError:
                continue  # whoever writes finds out, and knows what to do

    thread = Thread(target=beat, name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
