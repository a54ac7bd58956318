"""Units that do what units should not; in a file of its own, so that other processes can import them."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State
from ampel_dagster.units.base import StateUnit, Tied


class Unruly(StateUnit):
    """Behaves well but for the stock that is given."""

    needs: ClassVar[tuple[str, ...] | None] = ()
    bad_stock: int = 0

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        if state.stock == self.bad_stock:
            self.misbehave()
        return {"pid": os.getpid(), "n": len(state.dps)}

    def misbehave(self) -> None:
        raise NotImplementedError


class Crashes(Unruly):
    """As a segmentation fault in a compiled library does."""

    def misbehave(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class Exits(Unruly):
    """As a library that calls exit."""

    def misbehave(self) -> None:
        os._exit(3)


class NeverEnds(Unruly):
    """In C, where no Python signal handler gets a turn."""

    def misbehave(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
        while True:
            time.sleep(1000)


class EatsMemory(Unruly):
    """Wants 8 GB."""

    def misbehave(self) -> None:
        bytearray(8 << 30)


class Raises(Unruly):
    """An ordinary mistake."""

    def misbehave(self) -> None:
        raise ValueError("the bad one")
