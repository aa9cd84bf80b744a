"""Lists as OpenAI pages them: the newest first, from the one behind `after` on."""

from collections.abc import Sequence
from typing import Annotated, Generic, Protocol, TypeVar

from fastapi import Query


class Identified(Protocol):
    """A record with an id."""

    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=Identified)

Limit = Annotated[int, Query(ge=1, le=100)]


class Page(Generic[R]):
    """One page of records."""

    def __init__(self, records: Sequence[R], limit: int, after: str | None) -> None:
        begin = 0
        if after is not None:
            found = (number + 1 for number, one in enumerate(records) if one.id == after)
            begin = next(found, len(records))
        self.records = records[begin : begin + limit]
        self.has_more = len(records) > begin + limit

    @property
    def first_id(self) -> str | None:
        return self.records[0].id if self.records else None

    @property
    def last_id(self) -> str | None:
        return self.records[-1].id if self.records else None
