from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")

class PointReader(Generic[T]):
    def __init__(
        self,
        type_: type[T],
        tags: Callable[..., tuple[str, ...]],
        otherwise: Callable[[Sequence[Mapping[str, Any]], int, int | None], list[T]],
        first_jd: float,
        not_kept: Collection[str],
        kept: tuple[str, ...],
    ) -> None: ...
    def read(self, bodies: Sequence[Mapping[str, Any]], rank: int, candid: int | None = None) -> list[T]: ...
