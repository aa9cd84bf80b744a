"""Lists as OpenAI pages them: the newest first, from the one behind `after` on."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, Literal, Protocol, TypeVar

from fastapi import Query
from typing_extensions import TypedDict


class Identified(Protocol):
    """A record with an id."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Identified)
B = TypeVar("B")


class ListBody(TypedDict, Generic[B]):
    """One page of bodies."""

    object: Literal["list"]
    data: list[B]
    first_id: str | None
    last_id: str | None
    has_more: bool


Limit = Annotated[int, Query(ge=1, le=100)]


class Page(Generic[R]):
    """One page of records."""

    def __init__(self, records: Sequence[R], limit: int, after: str | None) -> None:
        begin = 0
        if after is not None:
            found = (number + 1 for number, one in enumerate(records) if one.id == after)
            begin = next(found, len(records))
        self._records = records[begin : begin + limit]
        self._has_more = len(records) > begin + limit

    def body(self, of: Callable[[R], B]) -> ListBody[B]:
        """Return the page as it is answered, with the body `of` each record."""
        records = self._records
        return ListBody(
            object="list",
            data=[of(one) for one in records],
            first_id=records[0].id if records else None,
            last_id=records[-1].id if records else None,
            has_more=self._has_more,
        )
