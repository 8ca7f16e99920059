# SPDX-License-Identifier: Apache-2.0
"""amap: a bounded concurrent map."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Literal, TypeVar

from airflow_provider_async.core.async_map import AsyncMap, Outcome
from airflow_provider_async.core.checks import check_at_least
from airflow_provider_async.core.resume import Resume

if TYPE_CHECKING:
    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry

__all__ = ["AsyncMap", "Outcome", "amap"]

T = TypeVar("T")
R = TypeVar("R")


def amap(
    function: Callable[[T], Awaitable[R]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    limit: int,
    ordered: bool = False,
    retry: Retry | None = None,
    resume: str | None = None,
    key: Callable[[T], Key] | None = None,
    ack: Literal["next", "manual"] = "next",
    results: Literal["keep"] | None = None,
    label: str | None = None,
    tally: Tally | None = None,
) -> AsyncMap[T, R]:
    """
    Call an async function for each item, several at a time, and iterate over the results as they arrive.

    ``items`` is read only as fast as results are taken, so it may be endless. A slow item holds back nobody, unless the
    results are wanted in order and it is the next. Nothing runs before the first result is asked for.

    :param function: called once for each item, and again where ``retry`` says so.
    :param items: an iterable or an async iterable.
    :param limit: how many calls run at once at most; up to as many finished results wait for the consumer.
    :param ordered: deliver in the order of ``items`` instead of as results arrive.
    :param retry: which errors of ``function`` are tried again, and when; by default none.
    :param resume: a name under which is kept which items are done, in an Airflow task or in a block of
        :func:`~airflow_provider_async.resumable`: the next try leaves them out. An item is done when it is
        acknowledged; one that is not is done again, so doing it twice must do no harm.
    :param key: what tells one item from another, if they are no strings, integers or tuples of these.
    :param ack: when an item is acknowledged: when the consumer comes back for the ``next`` value or batch, or by a call
        of :meth:`Outcome.ack` (``manual``).
    :param results: ``keep`` to keep the results of done items too, small JSON values, and deliver them again.
    :param label: what the work is called in errors and where progress is shown; the function's name by default. Works
        of one label are shown as one.
    :param tally: what the function counts itself; it goes into :attr:`AsyncMap.progress`.
    :return: what to iterate over: values with ``async for``, or see :meth:`AsyncMap.outcomes` and
        :meth:`AsyncMap.batches`.
    """
    if not callable(function):
        raise TypeError(f"amap needs an async function, not {function!r}")
    if isinstance(items, (str, bytes)):
        raise TypeError(f"items is one {type(items).__name__}, not an iterable of items")
    if not isinstance(items, (Iterable, AsyncIterable)):
        raise TypeError(f"items must be an iterable or an async iterable, not {type(items).__name__}")
    check_at_least(1, limit=limit)
    if resume is None and (key is not None or ack != "next" or results is not None):
        raise ValueError("key, ack and results are for resume, which is not given")
    if ack not in ("next", "manual"):
        raise ValueError(f"ack must be 'next' or 'manual', not {ack!r}")
    if results not in (None, "keep"):
        raise ValueError(f"results must be 'keep' or None, not {results!r}")
    if label is None:
        label = str(getattr(function, "__name__", type(function).__name__))
    return AsyncMap(
        function,
        items,
        limit=limit,
        ordered=ordered,
        retry=retry,
        resume=None if resume is None else Resume(resume, key=key, keeps_results=results == "keep"),
        is_manual=ack == "manual",
        label=label,
        tally=tally,
    )
