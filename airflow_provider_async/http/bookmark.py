# SPDX-License-Identifier: Apache-2.0
"""What is kept of a run of pages, so that the next try can go on after the last page that was consumed."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, cast

from airflow_provider_async.core.keys import hash_key
from airflow_provider_async.http.pages import BodyCursor, Cursor, JSONLink, LinkHeader, Offset, PageNumber, SinglePage

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.pages import Paginator
    from airflow_provider_async.http.requests import PageRequest

__all__ = ["Bookmark", "run_key"]

#: Those that may be found by detection, so that the next try has to know which it was.
_PAGINATORS = {one.__name__: one for one in (BodyCursor, Cursor, JSONLink, LinkHeader, Offset, PageNumber, SinglePage)}


@dataclass(slots=True, kw_only=True)
class Bookmark:
    """
    Where a run of pages goes on.

    :param request: for the next page; ``None`` after the last one.
    :param pages: how many pages were read.
    :param rows: how many rows they had.
    :param largest: how many rows the largest one had.
    :param total: how many rows there are, if the server said so.
    :param paginator: the one that was detected, if it was.
    :param items: the path to the rows that was found, if it was.
    :param recent: the newest cursors and pages, as hashes.
    """

    request: PageRequest | None
    pages: int = 0
    rows: int = 0
    largest: int = 0
    total: int | None = None
    paginator: Paginator | None = None
    items: str | None = None
    recent: str = ""

    def write(self, first: PageRequest, run: str) -> dict[str, JSON]:
        """
        Return this as JSON, without what the caller has given: that may be secret.

        :param first: the request as the caller has given it.
        :param run: what tells this run from others.
        """
        detected = None if self.paginator is None else [type(self.paginator).__name__, _fields(self.paginator)]
        return {
            "run": run,
            "request": None if self.request is None else _write_request(first, self.request),
            "pages": self.pages,
            "rows": self.rows,
            "largest": self.largest,
            "total": self.total,
            "paginator": cast("JSON", detected),
            "items": self.items,
            "recent": self.recent,
        }

    @classmethod
    def read(cls, value: dict[str, JSON], first: PageRequest, run: str) -> Bookmark | None:
        """
        Return what :meth:`write` has written; ``None`` if that was another run.

        :param value: what was kept.
        :param first: the request as the caller has given it.
        :param run: what tells this run from others.
        """
        if value.get("run") != run:
            return None
        request, detected = value["request"], cast("tuple[str, dict[str, JSON]] | None", value["paginator"])
        return cls(
            request=None if request is None else _read_request(first, cast("dict[str, JSON]", request)),
            pages=cast("int", value["pages"]),
            rows=cast("int", value["rows"]),
            largest=cast("int", value["largest"]),
            total=cast("int | None", value["total"]),
            paginator=None if detected is None else _PAGINATORS[detected[0]](**detected[1]),  # type: ignore[arg-type]
            items=cast("str | None", value["items"]),
            recent=cast("str", value["recent"]),
        )


def run_key(first: PageRequest, paginator: Paginator | None, items: object) -> str:
    """
    Return what tells a run of pages from those for which its cursors mean something else.

    :param first: the request as the caller has given it.
    :param paginator: the one that the caller has given, if so.
    :param items: the path to the rows that the caller has given, if it is one.
    """
    kind = "auto" if paginator is None else type(paginator).__qualname__
    options = "" if paginator is None else json.dumps(_fields(paginator), default=repr)
    path = items if isinstance(items, str) else ""
    return f"{hash_key((first.key, kind, options, path)):016x}"


def _fields(paginator: Paginator) -> dict[str, JSON]:
    """Return the options of a paginator; one that is no dataclass is told from others by its type alone."""
    described = cast("object", paginator)
    if not is_dataclass(described):
        return {}
    values = {one.name: getattr(described, one.name) for one in fields(described)}
    return {name: sorted(value) if isinstance(value, (set, frozenset)) else value for name, value in values.items()}


def _write_request(first: PageRequest, request: PageRequest) -> dict[str, JSON]:
    given = {pair: index for index, pair in enumerate(first.params)}
    params: list[JSON] = [given.get(pair, [*pair]) for pair in request.params]
    written: dict[str, JSON] = {"params": params}
    if request.url != first.url:
        written["url"] = request.url
    if request.json != first.json:
        written["json"] = _changed(first.json, request.json)
    if request.past_end:
        written["past_end"] = [*sorted(request.past_end)]
    return written


def _read_request(first: PageRequest, written: dict[str, JSON]) -> PageRequest:
    params = cast("list[int | tuple[str, str]]", written["params"])
    return replace(
        first,
        url=cast("str", written.get("url", first.url)),
        params=tuple(first.params[one] if isinstance(one, int) else (one[0], one[1]) for one in params),
        json=_with_changed(first.json, written["json"]) if "json" in written else first.json,
        past_end=frozenset(cast("list[int]", written.get("past_end", []))),
    )


def _changed(old: JSON, new: JSON) -> JSON:
    if isinstance(old, dict) and isinstance(new, dict):
        return {name: value for name, value in new.items() if name not in old or old[name] != value}
    return new


def _with_changed(old: JSON, changed: JSON) -> JSON:
    return {**old, **changed} if isinstance(old, dict) and isinstance(changed, dict) else changed
