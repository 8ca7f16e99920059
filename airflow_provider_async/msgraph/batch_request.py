# SPDX-License-Identifier: Apache-2.0
"""The requests of a batch, and which of them have to stay together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.msgraph.targets import GraphParams, Target

__all__ = ["LARGEST_BATCH", "BatchRequest", "Group", "arrange"]

#: https://learn.microsoft.com/graph/json-batching: so many requests at most.
LARGEST_BATCH = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class BatchRequest:
    """
    One request of a batch. Two are never the same, however alike they are.

    :param method: such as ``GET``.
    :param url: as for a request of its own; an absolute one must be below the pool's URL.
    :param params: for the query, in place of those of the same name that stand in the URL.
    :param json: to be sent as JSON: what msgspec encodes.
    :param data: to be sent as it is.
    :param headers: such as ``{"Prefer": "return=minimal"}``.
    :param depends_on: requests that stand before this one in the same list. It is run after they have succeeded, and
        with them in one batch.
    :param idempotent: whether sending it twice does no harm; by default as the method says.
    """

    method: str
    url: Target
    params: GraphParams | None = None
    json: object = field(default=None, repr=False)
    data: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    depends_on: Sequence[BatchRequest] = field(default=(), repr=False)
    idempotent: bool | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", self.method.upper())

    @classmethod
    def of(cls, target: Target) -> BatchRequest:
        """Return the request that a URL alone stands for, or a ``RequestInformation``."""
        own = None if isinstance(target, str) else target.http_method
        return cls("GET" if own is None else str(own.value), target)

    @property
    def resume_key(self) -> Key:
        """What tells this request from others: all that is sent."""
        body = (self.data or b"") if self.json is None else msgspec.json.encode(self.json)
        return self.method, self._where, repr(self.params), hashlib.blake2b(body, digest_size=16).hexdigest()

    @property
    def _where(self) -> str:
        return self.url if isinstance(self.url, str) else str(self.url.url_template)

    def __str__(self) -> str:
        return f"{self.method} {self._where.partition('?')[0]}"


@dataclass(slots=True)
class Group:
    """
    Requests that depend on each other, in the order in which they were given.

    :param members: at most as many as fit into a batch.
    :param arrived: what has come of them to be sent.
    """

    members: list[BatchRequest]
    arrived: dict[BatchRequest, Any] = field(default_factory=dict)


def arrange(requests: Sequence[T]) -> tuple[list[T], dict[BatchRequest, Group]]:
    """
    Put requests that depend on each other beside each other, at the place of the first of them.

    :param requests: in any number; those that are no :class:`BatchRequest` depend on nothing.
    :raises ValueError: if one depends on what does not stand before it, or more depend on each other than fit into a
        batch.
    :return: all of them, and the groups of those that are in one.
    """
    groups: dict[BatchRequest, Group] = {}
    seen: dict[BatchRequest, int] = {}
    for number, request in enumerate(requests):
        if not isinstance(request, BatchRequest):
            continue
        if request in seen:
            raise ValueError(f"the requests {seen[request]} and {number} are the same object ({request}); make two")
        for needed in request.depends_on:
            if needed not in seen:
                raise ValueError(f"request {number} ({request}) depends on {needed}, which does not stand before it")
        seen[request] = number
        _join(groups, request)
    arranged: list[T] = []
    placed: set[int] = set()
    for request in requests:
        group = groups.get(request) if isinstance(request, BatchRequest) else None
        if group is None:
            arranged.append(request)
        elif id(group) not in placed:
            placed.add(id(group))
            group.members.sort(key=seen.__getitem__)
            arranged.extend(group.members)  # type: ignore[arg-type]
    return arranged, groups


def _join(groups: dict[BatchRequest, Group], request: BatchRequest) -> None:
    if not request.depends_on:
        return
    group = groups[request] = Group([request])
    for needed in request.depends_on:
        other = groups.get(needed) or Group([needed])
        if other is not group:
            group.members.extend(other.members)
            groups.update(dict.fromkeys(other.members, group))
    if len(group.members) > LARGEST_BATCH:
        raise ValueError(
            f"{request} is the {len(group.members)}th of requests that depend on each other, and a batch has room for "
            f"{LARGEST_BATCH}"
        )
