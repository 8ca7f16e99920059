# SPDX-License-Identifier: Apache-2.0
"""Work that is split into even parts, one for each of several tasks."""

from __future__ import annotations

import heapq
import json
import math
import zlib
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable
from importlib import import_module
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_async.core.checks import check_at_least
from airflow_provider_async.core.keys import hash_key, key_of, plain_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from airflow_provider_async.core.values import JSON

__all__ = ["Shard", "shards"]

#: Of what :meth:`Shard.serialize` makes.
_VERSION = 1

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

#: Below what an item's class has to lie that is made again by its name.
_PACKAGE = __name__.partition(".")[0]


class Shard(Collection[T_co], Generic[T_co]):
    """
    One of the even parts of some work, made by :func:`shards`: iterate over it.

    Airflow passes it from task to task as it is, and so do its own ``@task`` functions. Give it to a pool too
    (``shard=...``), which then takes its share of the server's limits.

    :param items: strings, integers, tuples of these, or entries of a listing.
    :param index: which part this is, from 0.
    :param parts: how many there are.
    """

    # Airflow makes again from an XCom only what has a name that begins so; the bridge has this class, too.
    __module__ = "airflow.providers.async_bridge"
    __version__ = _VERSION
    __slots__ = ("_items", "index", "parts")

    def __init__(self, items: Iterable[T_co], *, index: int, parts: int) -> None:
        if not 0 <= index < parts:
            raise ValueError(f"index must be between 0 and {parts - 1}, one below the number of parts, not {index}")
        self._items = tuple(items)
        self.index = index
        self.parts = parts

    def __iter__(self) -> Iterator[T_co]:
        return iter(self._items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Shard):
            return NotImplemented
        return (self.index, self.parts, self._items) == (other.index, other.parts, other._items)

    def __hash__(self) -> int:
        return hash((self.index, self.parts, self._items))

    def __repr__(self) -> str:
        return f"<Shard {self.index + 1} of {self.parts}: {len(self._items):,} items>"

    def serialize(self) -> dict[str, JSON]:
        """Return it as a small JSON value; called by Airflow."""
        # Packed, a listing takes a sixth; and names that are no UTF-8, which PostgreSQL would refuse, pass through.
        data = json.dumps([_encode(item) for item in self._items], separators=(",", ":")).encode()
        packed = b64encode(zlib.compress(data)).decode()
        return {"index": self.index, "parts": self.parts, "length": len(self._items), "packed": packed}

    @staticmethod
    def deserialize(data: Mapping[str, Any], version: int) -> Shard[Any]:
        """
        Return what :meth:`serialize` was called for; called by Airflow.

        :raises ValueError: if it was made by a later version of this package.
        """
        if version > _VERSION:
            raise ValueError(f"a shard of version {version} was made by a later version of this package than this one")
        items = json.loads(zlib.decompress(b64decode(data["packed"])))
        return Shard(map(_decode, items), index=data["index"], parts=data["parts"])


def shards(items: Iterable[T], parts: int, *, weight: Callable[[T], float] | None = None) -> list[Shard[T]]:
    """
    Split work into even parts, for as many mapped tasks: ``load.expand(shard=shards(...))``.

    The same items in the same order give the same parts.

    :param items: strings, integers, tuples of these, or entries of a listing, which keep their size and time; no two
        the same.
    :param parts: how many parts; there are fewer if there are fewer items, for none is empty.
    :param weight: tells how much work an item is, such as its bytes. The parts are then of about the same weight, no
        heavier than 4/3 of the best that could be found. By default they are of the same number of items, neighbours
        together.
    :return: the parts.
    :raises TypeError: if an item is something else.
    :raises ValueError: if an item is there twice, or its weight is no number of at least 0.
    """
    if isinstance(items, (str, bytes)):
        raise TypeError(f"items is one {type(items).__name__}, not an iterable of items")
    check_at_least(1, parts=parts)
    everything = list(items)
    _check(everything)
    parts = min(parts, len(everything))
    split = _neighbours(everything, parts) if weight is None else _balanced(everything, parts, weight)
    return [Shard(part, index=index, parts=parts) for index, part in enumerate(split)]


def _neighbours(items: Sequence[T], parts: int) -> list[Sequence[T]]:
    bounds = [index * len(items) // parts for index in range(parts + 1)] if parts else [0]
    return [items[start:end] for start, end in pairwise(bounds)]


def _balanced(items: Sequence[T], parts: int, weight: Callable[[T], float]) -> list[list[T]]:
    """Give each item, the heaviest first, to whichever part is the lightest (Graham 1969: "LPT")."""
    weights = [_weight_of(item, weight) for item in items]
    chosen: list[list[int]] = [[] for _ in range(parts)]
    # Items without a weight are spread by their number.
    loads = [(0.0, 0, part) for part in range(parts)]
    for at in sorted(range(len(items)), key=lambda at: -weights[at]):
        load, number, part = loads[0]
        chosen[part].append(at)
        heapq.heapreplace(loads, (load + weights[at], number + 1, part))
    return [[items[at] for at in sorted(part)] for part in chosen]


def _weight_of(item: T, weight: Callable[[T], float]) -> float:
    found: object = weight(item)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found < math.inf:
        raise ValueError(f"the weight of {item!r} must be a number of at least 0, not {found!r}")
    return float(found)


def _check(items: Sequence[object]) -> None:
    seen: set[int] = set()
    for item in items:
        _encode(item)
        hashed = hash_key(key_of(item))
        if hashed in seen:
            raise ValueError(f"{item!r} is there twice; two tasks would do the same work")
        seen.add(hashed)


#: What stands for an item in JSON: a tuple is a list, an entry of a listing an object of its class and its arguments.
Encoded: TypeAlias = "str | int | list[Encoded] | dict[str, list[JSON]]"


def _encode(item: object) -> Encoded:
    kind = type(item)
    if isinstance(item, str) and kind.__module__.startswith(f"{_PACKAGE}."):
        arguments: Any = item.__reduce__()
        return {f"{kind.__module__}.{kind.__qualname__}": [*arguments[1]]}
    if isinstance(item, tuple):
        return [_encode(part) for part in item]
    key = plain_key(item)
    if isinstance(key, (str, int)):
        return key
    raise TypeError(
        f"{item!r} of type {kind.__name__} cannot be part of a shard: give strings, integers, tuples of these, or "
        "entries of a listing"
    )


def _decode(encoded: Encoded) -> object:
    if isinstance(encoded, list):
        return tuple(map(_decode, encoded))
    if not isinstance(encoded, dict):
        return encoded
    ((name, arguments),) = encoded.items()
    module, _, kind = name.rpartition(".")
    # Nothing of anybody else's is imported or called, whatever an XCom says.
    made = getattr(import_module(module), kind, None) if module.startswith(f"{_PACKAGE}.") else None
    if not isinstance(made, type) or not issubclass(made, str):
        raise TypeError(f"a shard has an item of type {name!r}, which is no entry of a listing")
    return made(*arguments)
