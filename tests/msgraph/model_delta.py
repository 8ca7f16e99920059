# SPDX-License-Identifier: Apache-2.0
"""A directory whose changes can be asked for, in memory: what a delta query has to be true to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_async.errors import GraphError
from airflow_provider_async.http.requests import PageRequest, PageResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.msgraph.change import Change

ROOT = "https://graph.test/v1.0/"
FIRST = PageRequest(url="users/delta", params=(("$select", "name"),))


@dataclass
class Directory:
    """
    Items with versions, and a log of what has changed.

    :param page_size: rows on a page.
    :param empty_pages: how many pages without rows come before each one that has some.
    :param repeats: whether the last row of a page comes again on the next one, as Graph says that it may.
    :param location: whether a 410 says where to begin anew.
    """

    page_size: int = 2
    empty_pages: int = 0
    repeats: bool = False
    location: bool = True
    items: dict[str, int] = field(default_factory=dict)
    log: list[tuple[str, int | None]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    generation: int = 0
    on_page: Callable[[], object] = lambda: None

    def put(self, name: str, version: int) -> None:
        self.items[name] = version
        self.log.append((name, version))

    def drop(self, name: str) -> None:
        if self.items.pop(name, None) is not None:
            self.log.append((name, None))

    def expire(self) -> None:
        """Forget all links that were given."""
        self.generation += 1

    async def fetch(self, request: PageRequest) -> PageResponse:
        url = request.url if "://" in request.url else ROOT + request.url
        self.asked.append(url)
        query = dict([*parse_qsl(urlsplit(url).query), *request.params])
        self.on_page()
        assert query["$select"] == "name"
        # What is asked for: everything, what is left of a query, or what has happened since one.
        kind, *numbers = (query.get("$token") or f"all.0.{len(self.log)}.{self.generation}.0").split(".")
        start, end, generation, empties = map(int, numbers)
        if kind == "since":
            kind, end = "rest", len(self.log)
        if generation != self.generation:
            raise self._gone()
        if empties < self.empty_pages:
            return self._page([], "@odata.nextLink", f"{kind}.{start}.{end}.{generation}.{empties + 1}")
        stop = min(end, start + self.page_size)
        rows = [self._row(name) for name, _ in self.log[start:stop]]
        if kind == "all":
            rows = [row for row in rows if "@removed" not in row]
        if stop < end:
            following = stop - 1 if self.repeats and stop - start > 1 else stop
            return self._page(rows, "@odata.nextLink", f"{kind}.{following}.{end}.{generation}.0")
        return self._page(rows, "@odata.deltaLink", f"since.{end}.0.{generation}.0")

    def _row(self, name: str) -> dict[str, JSON]:
        # What an item is now, as Graph does, and not what it was when it changed.
        version = self.items.get(name)
        if version is None:
            return {"id": name, "@removed": {"reason": "deleted"}}
        return {"id": name, "version": version}

    def _page(self, rows: list[dict[str, JSON]], link: str, token: str) -> PageResponse:
        url = f"{ROOT}users/delta?$select=name&$token={token}"
        return PageResponse(url=self.asked[-1], status=200, headers={}, body={"value": [*rows], link: url})

    def _gone(self) -> GraphError:
        headers = {"Location": f"{ROOT}users/delta?$select=name&$token="} if self.location else {}
        return GraphError("gone", status=410, url=self.asked[-1], headers=headers, code="resyncRequired")


@dataclass
class Replica:
    """What a consumer knows of a directory."""

    items: dict[str, int] = field(default_factory=dict)
    resets: int = 0

    def apply(self, change: Change) -> None:
        match change.kind:
            case "reset":
                self.items.clear()
                self.resets += 1
            case "removed":
                self.items.pop(change.id, None)
            case "changed":
                version = change.item["version"]
                assert isinstance(version, int)
                self.items[change.id] = version


def fetcher(answers: Iterable[object]) -> Callable[[PageRequest], Awaitable[PageResponse]]:
    """Answer with bodies and errors, one after the other."""
    left = iter(answers)

    async def fetch(request: PageRequest) -> PageResponse:
        answer: Any = next(left)
        if isinstance(answer, Exception):
            raise answer
        return PageResponse(url=request.url, status=200, headers={}, body=answer)

    return fetch
