# SPDX-License-Identifier: Apache-2.0
"""
Requests that are asked for one by one, and sent up to twenty at a time.

Whoever asks for a request waits for its answer; what waits at one moment goes into one batch. A request that is refused
for now goes into another one, without those that were answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_async.core.work import working_on
from airflow_provider_async.errors import HTTPStatusError, InvalidBody
from airflow_provider_async.http import policy
from airflow_provider_async.http.piece import Piece
from airflow_provider_async.msgraph.batch_body import Answers, encode_batch, encode_request, read_answer, refusal
from airflow_provider_async.msgraph.batch_request import LARGEST_BATCH, BatchRequest, Group
from airflow_provider_async.msgraph.sender import USED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.http.transport import Call
    from airflow_provider_async.msgraph.batch_body import EncodedRequest
    from airflow_provider_async.msgraph.sender import GraphSender

__all__ = ["Batcher"]

#: Graph takes requests of 4 MB; a batch has less than that, unless one of its requests alone has more.
_MOST_BYTES = 3_500_000

_BATCH = "$batch"

_BAD_REQUEST = 400
_FAILED_DEPENDENCY = 424

#: A batch that is not full waits for company, but no longer than the last one took, and within these bounds.
_FIRST_WAIT = 0.02
_SHORTEST_WAIT = 0.001
_LONGEST_WAIT = 0.25


@dataclass(slots=True, eq=False)
class _Entry:
    """A request that somebody waits for."""

    request: BatchRequest
    call: Call
    encoded: EncodedRequest
    answer: asyncio.Future[Response]
    failed: int = 0
    first_failed: float = 0.0


@dataclass(slots=True, eq=False)
class _Unit:
    """Requests that go into one batch, and the batch in which they are."""

    entries: list[_Entry]
    results: asyncio.Future[list[Response | Exception]]
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(entry.encoded.size for entry in self.entries)


class Batcher:
    """
    Sends what is asked of it in batches.

    :param sender: sends the batches.
    :param make_call: makes of a request what would be sent if it were sent alone.
    :param limit: how many batches are in flight at once, at most.
    :param retry: the policy for each request.
    :param groups: requests that depend on each other.
    :param tally: counts bytes.
    """

    def __init__(
        self,
        sender: GraphSender,
        make_call: Callable[[BatchRequest], Call],
        *,
        limit: int,
        retry: Retry,
        groups: Mapping[BatchRequest, Group],
        tally: Tally,
    ) -> None:
        self._sender = sender
        self._make_call = make_call
        self._limit = limit
        self._retry = retry
        self._groups = groups
        self._tally = tally
        self._queue: deque[_Unit] = deque()
        self._waiting = 0
        self._asked = self._asked_before = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._is_complete = False
        self._round_trip = _FIRST_WAIT

    async def __call__(self, request: BatchRequest) -> Response:
        """
        Send a request with others, again where the policy says so.

        :raises HTTPStatusError: if its status is 400 or above; 424 if one that it depends on has failed.
        :raises ConnectionFailed: if the batch had no complete answer.
        """
        call = self._make_call(request)
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        entry = _Entry(request, call, encode_request(self._sender, call), answer)
        group = self._groups.get(request)
        if group is None:
            if request.depends_on:
                raise ValueError(f"{request} depends on others: give them all in one list, to be known beforehand")
            await self._run([entry])
        else:
            group.arrived[request] = entry
            # Whoever completes the group sends it.
            if len(group.arrived) == len(group.members):
                await self._run([group.arrived[member] for member in group.members])
        response = await answer
        self._tally.bytes += len(response.body)
        return response

    def complete(self) -> None:
        """Note that nothing more is going to be asked for, so that no batch has to wait for company."""
        self._is_complete = True
        if self._timer is not None:
            self._wait_for_company(0.0)

    async def aclose(self) -> None:
        """Give up what is in flight."""
        self._queue.clear()
        self._wait_for_company(None)
        for task in self._in_flight:
            task.cancel()
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    # Those who wait.

    async def _run(self, entries: list[_Entry]) -> None:
        """Send requests that belong together until each has an answer or an error."""
        everyone = entries
        try:
            while entries:
                results = await self._ask(entries)
                entries, seconds = self._settle(entries, results)
                if entries and (work := working_on.get()) is not None:
                    work.retries += len(entries)
                if seconds > 0:
                    await asyncio.sleep(seconds)
        except Exception as error:  # noqa: BLE001 - of the batch, and so of each of its requests that has no answer yet
            for entry in entries:
                _fail(entry, error)
        finally:
            for entry in everyone:
                entry.answer.cancel()

    async def _ask(self, entries: list[_Entry]) -> list[Response | Exception]:
        unit = _Unit(entries, asyncio.get_running_loop().create_future())
        self._queue.append(unit)
        self._waiting += len(entries)
        self._asked += len(entries)
        self._send_what_is_due()
        return await unit.results

    def _settle(self, entries: list[_Entry], results: list[Response | Exception]) -> tuple[list[_Entry], float]:
        """Hand out answers and errors; return what is to be sent again, and after how many seconds at least."""
        again: dict[BatchRequest, _Entry] = {}
        errors: dict[BatchRequest, Exception] = {}
        wait = 0.0
        for entry, result in zip(entries, results, strict=True):
            if not isinstance(result, Exception):
                entry.answer.set_result(result)
                continue
            if isinstance(result, HTTPStatusError) and result.status == _FAILED_DEPENDENCY:
                needed = entry.request.depends_on
                if any(one in again for one in needed):
                    again[entry.request] = entry
                    continue
                reason = next((one for one in needed if one in errors), None)
                if reason is not None:
                    result.args = (f"{entry.request} was not run, for it depends on {reason}, which has failed",)
                    result.__cause__ = errors[reason]
            elif (seconds := self._seconds_until_next(entry, result)) is not None:
                wait = max(wait, seconds)
                again[entry.request] = entry
                continue
            errors[entry.request] = result
            _fail(entry, result)
        return [*again.values()], wait

    def _seconds_until_next(self, entry: _Entry, error: Exception) -> float | None:
        """Return when to send a request again, apart from the pause that all make together; ``None`` for never."""
        retry = self._retry
        if not isinstance(error, HTTPStatusError) or retry.attempts == 1:
            return None
        if not self._sender.is_worth_it(entry.call, error, retry):
            return None
        entry.failed += 1
        now = time.monotonic()
        if entry.failed == 1:
            entry.first_failed = now
        if is_throttled := policy.is_throttling(error):
            seconds = max(error.retry_after or 0.0, self._sender.pause.seconds_left)
        elif entry.failed >= retry.attempts:
            return None
        else:
            seconds = error.retry_after or policy.backoff(retry, entry.failed)
        left = max(0.0, retry.budget_seconds - (now - entry.first_failed))
        if seconds > left:
            error.add_note(f"not tried again: that would take {seconds:.1f} s, and the budget has {left:.1f} s left")
            return None
        return 0.0 if is_throttled else seconds

    # Those who are sent.

    def _send_what_is_due(self) -> None:
        while self._queue and len(self._in_flight) < self._limit:
            if self._waiting < LARGEST_BATCH and not self._is_due:
                if self._timer is None:
                    self._wait_for_company(min(self._round_trip, _LONGEST_WAIT))
                return
            self._begin(self._take())
        if not self._queue:
            self._is_due = False
            self._wait_for_company(None)

    def _wait_for_company(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._asked_before = self._asked
            seconds = max(_SHORTEST_WAIT, 0.0 if self._is_complete else seconds)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._asked != self._asked_before:
            # More is coming at this moment, until the batch is full.
            self._wait_for_company(0.0)
            return
        self._is_due = True
        self._send_what_is_due()

    def _take(self) -> list[_Unit]:
        """Take as much from the queue as fits into a batch, in its order."""
        taken: list[_Unit] = []
        left: deque[_Unit] = deque()
        count = size = 0
        while self._queue and count < LARGEST_BATCH:
            unit = self._queue.popleft()
            if unit.results.done():  # nobody waits any more
                self._waiting -= len(unit.entries)
            elif count + len(unit.entries) > LARGEST_BATCH or (taken and size + unit.size > _MOST_BYTES):
                left.append(unit)
            else:
                taken.append(unit)
                count += len(unit.entries)
                size += unit.size
        self._queue.extendleft(reversed(left))
        self._waiting -= count
        return taken

    def _begin(self, units: list[_Unit]) -> None:
        if not units:
            return
        task = asyncio.get_running_loop().create_task(self._send(units), name="batch")
        self._in_flight.add(task)
        task.add_done_callback(self._ended)

        def give_up(_: object) -> None:
            if all(unit.results.cancelled() for unit in units):
                task.cancel()

        for unit in units:
            unit.results.add_done_callback(give_up)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._send_what_is_due()

    async def _send(self, units: list[_Unit]) -> None:
        entries = [entry for unit in units for entry in unit.entries]
        began = time.monotonic()
        try:
            results = await self._exchange(entries, began)
        except asyncio.CancelledError:
            for unit in units:
                unit.results.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait; the batch was sent again already
            for unit in units:
                if not unit.results.done():
                    unit.results.set_exception(error)
            return
        self._round_trip = time.monotonic() - began
        for unit in units:
            if not unit.results.done():
                unit.results.set_result([results[entry] for entry in unit.entries])

    async def _exchange(self, entries: list[_Entry], began: float) -> dict[_Entry, Response | Exception]:
        numbers: dict[BatchRequest, str] = {}
        for number, entry in enumerate(entries, 1):
            entry.encoded.id = numbers[entry.request] = str(number)
            # Those that are not here have succeeded before.
            entry.encoded.depends_on = [numbers[one] for one in entry.request.depends_on if one in numbers]
        body = encode_batch([entry.encoded for entry in entries])
        call = self._sender.call(
            "POST",
            _BATCH,
            headers={"Content-Type": "application/json"},
            idempotent=all(entry.call.idempotent for entry in entries),
        )
        call.body = partial(Piece, body)
        response = await self._sender.send(call, retry=self._retry)
        answers = {answer.id: answer for answer in response.json(Answers).responses}
        results: dict[_Entry, Response | Exception] = {}
        for entry in entries:
            answer = answers.get(entry.encoded.id)
            if answer is None:
                results[entry] = InvalidBody(f"{entry.request}: the answer to its batch has nothing for it")
                continue
            inner = read_answer(self._sender, entry.call, answer)
            self._sender.note_quota(inner.headers.get(USED))
            results[entry] = inner if inner.status < _BAD_REQUEST else self._refuse(entry, inner, began)
        return results

    def _refuse(self, entry: _Entry, response: Response, began: float) -> HTTPStatusError:
        """Make the error for an answer of failure, and let all calls of the pool pause if it asks for that."""
        error = refusal(self._sender, entry.call, response)
        if policy.is_throttling(error):
            self._sender.throttle(error.retry_after, began)
        return error


def _fail(entry: _Entry, error: Exception) -> None:
    if not entry.answer.done():
        entry.answer.set_exception(error)
        # Of a group, somebody else may be the one who is told.
        entry.answer.exception()
