# SPDX-License-Identifier: Apache-2.0
"""What all requests of one client share: the login, the retry policy, the pause and the limit of the rate."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec
from aiohttp import ClientTimeout
from multidict import istr

from airflow_provider_async.core.governor import Load
from airflow_provider_async.core.pause import Pause
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.core.work import working_on
from airflow_provider_async.errors import HTTPStatusError, InvalidBody, TransientResponse
from airflow_provider_async.http import policy
from airflow_provider_async.http.auth import auth_of, secrets_of
from airflow_provider_async.http.bodies import read_body
from airflow_provider_async.http.failures import FAILURES, named, read_failure, status_error
from airflow_provider_async.http.origins import append
from airflow_provider_async.http.redaction import Redactor, secret_headers
from airflow_provider_async.http.transport import REDIRECTS, Call, Credentials
from airflow_provider_async.http.watch import Turn, Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import ClientResponse

    from airflow_provider_async.core.lease import Lease
    from airflow_provider_async.http.options import HTTPOptions
    from airflow_provider_async.http.transport import Transport

__all__ = ["FORM", "Answer", "Sender"]

#: An answer, and the turn in which it is read.
Answer: TypeAlias = tuple[Turn, "ClientResponse"]

FORM = "application/x-www-form-urlencoded"

T = TypeVar("T")

_BAD_REQUEST = 400
_UNAUTHORIZED = 401

#: A token's answer has a few hundred bytes.
_TOKEN_BYTES = 1024 * 1024

#: A server that asks for less than that is not to be asked as fast as it answers.
_SHORTEST_PAUSE = 0.05

#: A call that was refused for the crowd's sake waits on its own as after this many failures at most.
_MOST_FAILURES_OF_A_CROWD = 3


@dataclass(slots=True)
class _Failures:
    """
    What has become of a call so far.

    :param began: when it failed for the first time, by ``time.monotonic()``.
    :param count: how often it has failed.
    :param renewed: whether a new token was asked for.
    """

    began: float
    count: int = 0
    renewed: bool = False


_ANONYMOUS = Credentials({}, {}, has_login=True, made={})

_QUOTA_HEADERS = tuple(
    map(istr, ("RateLimit", "RateLimit-Remaining", "X-RateLimit-Remaining", "X-Rate-Limit-Remaining"))
)


class Limiter(Protocol):
    """Says when a request may begin."""

    async def acquire(self) -> None:
        """Wait for one's turn."""


class Sender:
    """
    Sends requests on leased transports, again where the policy says so.

    :param options: what the Connection and the caller say.
    :param lease: lends a transport for one request.
    :param retry: the policy.
    :ivar limit: no more leases are kept between requests.
    :ivar unbounded: the time-outs of one whose answer may take any time, as long as something comes.
    """

    def __init__(
        self, options: HTTPOptions, lease: Callable[[], Lease[Transport, Transport]], *, retry: Retry | None = None
    ) -> None:
        self.options = options
        self._lease = lease
        self._retry = retry or Retry()
        self._auth = auth_of(options)
        self._credentials: Credentials | None = None
        self._limiter: Limiter | None = policy.limiter(options.rate)
        self._in_flight = 0
        self._waiting = 0
        self._spare: list[Turn] = []
        self._is_closing = False
        self._ended = 0
        self._failed = 0
        self._refused = 0
        self.limit = options.max_concurrency
        self.pause = Pause(initial_seconds=self._retry.initial_seconds, max_seconds=self._retry.max_seconds)
        self._watch = Watch(options.read_seconds, options.total_seconds)
        self.unbounded = ClientTimeout(total=None, sock_connect=options.connect_seconds, sock_read=options.read_seconds)
        self.redactor = Redactor(partial(secrets_of, options, self._auth))

    async def run(
        self, call: Call, consume: Callable[[ClientResponse], Awaitable[T]], *, retry: Retry | None = None
    ) -> T:
        """
        Send a request, again if the policy says so, and give its answer to a function.

        :param call: the request.
        :param consume: given the answer of each attempt, before its connection is given back.
        :param retry: another policy.
        :raises HTTPStatusError: if the status is 400 or above.
        :raises ConnectionFailed: if there was no complete answer.
        :raises OperationTimeout: if there was none in time.
        :raises UnsafeURL: if a link or a redirect leads where it must not.
        """
        failures: _Failures | None = None
        while True:
            try:
                turn, response = await self._begin(call)
                try:
                    return await consume(response)
                except FAILURES as error:
                    raise self.failure(call, error) from None
                except asyncio.CancelledError:
                    if turn.ends_late():
                        raise self.failure(call, TimeoutError()) from None
                    raise
                finally:
                    self.close(turn)
            except Exception as error:  # noqa: BLE001 - it is raised again unless the policy says otherwise
                failures = failures or _Failures(time.monotonic())
                await self._get_ready_again(call, error, failures, retry or self._retry)

    async def open(self, call: Call, *, retry: Retry | None = None) -> Answer:
        """
        Send a request, again if the policy says so, and return its answer.

        :param call: the request.
        :param retry: another policy.
        :raises HTTPStatusError: and what else :meth:`run` raises.
        :return: the answer and its turn, which is to be given back with :meth:`close`.
        """
        failures: _Failures | None = None
        while True:
            try:
                return await self._begin(call)
            except Exception as error:  # noqa: BLE001 - as above
                failures = failures or _Failures(time.monotonic())
                await self._get_ready_again(call, error, failures, retry or self._retry)

    def close(self, turn: Turn) -> None:
        """Give back a turn. A body that was not read to its end takes its connection with it."""
        self._in_flight -= 1
        self._ended += 1
        if turn.task is not None:
            self._watch.end(turn)
        if turn.response is not None:
            turn.response.release()
            turn.response = None
        # Kept for the next request while others are in flight, for which the pool need not be asked then.
        kept = self._in_flight and not self._waiting and not self._is_closing
        if kept and self._in_flight + len(self._spare) < self.limit:
            self._spare.append(turn)
            return
        turn.lease.give_back()
        while self._spare and not self._in_flight:
            self._spare.pop().lease.give_back()

    async def aclose(self) -> None:
        """Keep no lease any longer: the pool is about to close."""
        self._is_closing = True
        while self._spare:
            self._spare.pop().lease.give_back()

    def throttle(self, seconds: float | None, began: float) -> None:
        """Let all calls pause, because one that began then was refused for their number."""
        self._refused += 1
        if seconds is None or seconds < _SHORTEST_PAUSE:
            self.pause.refused(began)
        elif seconds <= self._retry.budget_seconds:
            self.pause.extend(seconds)

    def load(self) -> Load:
        """Tell what has become of requests."""
        return Load(self._ended, self._in_flight, failed=self._failed, refused=self._refused)

    def failure(self, call: Call, error: Exception) -> Exception:
        """Return the error to be raised for one of aiohttp's, or of a body's; see :data:`FAILURES`."""
        return named(error, self.describe(call), self.redactor)

    async def status_error(self, call: Call, response: ClientResponse) -> HTTPStatusError:
        """Return the error for an answer whose status means failure."""
        return status_error(call, response, await read_failure(response), self.describe(call), self.redactor)

    def is_worth_it(self, call: Call, error: Exception, retry: Retry) -> bool:
        """Tell whether a request that failed is sent again."""
        return policy.is_worth_it(error, idempotent=call.idempotent, retry=retry)

    def describe(self, call: Call) -> str:
        """Return what a request is called in errors."""
        return f"{call.method} {self.redactor.url(call.url)}"

    async def _begin(self, call: Call) -> Answer:
        credentials = turn = None
        if self._limiter is None and not call.is_anonymous and not self.pause.is_on:
            credentials = call.credentials = self._ready_credentials()
            if credentials is not None:
                turn = self._spare.pop() if self._spare else self._turn_at_once()
        if turn is None or credentials is None:
            turn, credentials = await self._wait_for_turn(call)
        self._in_flight += 1
        began = time.monotonic()
        if call.timeout is None:
            self._watch.begin(turn, began)
        try:
            response = turn.response = await turn.transport.send(call, credentials)
            if response.status in REDIRECTS:
                response = turn.response = await turn.transport.follow(response, call, credentials)
            self._note_quota(response.headers)
            if response.status >= _BAD_REQUEST and call.checks_status:
                await self._refuse(call, response, began)
        except BaseException as error:
            is_late = isinstance(error, asyncio.CancelledError) and turn.ends_late()
            self.close(turn)
            if is_late:
                raise self.failure(call, TimeoutError()) from None
            if isinstance(error, FAILURES):
                raise self.failure(call, error) from None
            raise
        self.pause.succeeded()
        return turn, response

    def _turn_at_once(self) -> Turn | None:
        lease = self._lease()
        transport = lease.enter_at_once()
        return None if transport is None else Turn(lease, transport)

    async def _wait_for_turn(self, call: Call) -> tuple[Turn, Credentials]:
        """Wait until the rate, the pause and the number of requests in flight allow another one."""
        if self._limiter is not None:
            await self._limiter.acquire()
        pause = self.pause
        while True:
            if pause.is_on:
                await pause.wait()
            if call.is_anonymous:
                credentials = _ANONYMOUS
            else:
                credentials = call.credentials = self._ready_credentials() or await self._fetch_credentials()
            if self._spare:
                return self._spare.pop(), credentials
            lease = self._lease()
            self._waiting += 1
            try:
                transport = await lease.__aenter__()
            finally:
                self._waiting -= 1
            # A pause may have begun while this waited for its turn.
            if not pause.is_on:
                return Turn(lease, transport), credentials
            lease.give_back()

    # Trying again.

    async def _get_ready_again(self, call: Call, error: Exception, failures: _Failures, retry: Retry) -> None:
        """Wait until the next attempt may begin, or raise the error if there is none."""
        if isinstance(error, HTTPStatusError) and error.status == _UNAUTHORIZED and not failures.renewed:
            # Once: a new token that is refused too will not get better.
            failures.renewed = True
            if call.credentials is None or not self._auth.refused(call.credentials.made):
                raise error
        else:
            failures.count += 1
            await self._wait(call, error, failures.count, failures.began, retry)
        if (work := working_on.get()) is not None:
            work.retries += 1

    async def _wait(self, call: Call, error: Exception, failed: int, began: float, retry: Retry) -> None:
        self._failed += policy.is_overload(error)
        if retry.attempts == 1 or not self.is_worth_it(call, error, retry):
            raise error
        throttled = policy.is_throttling(error)
        # A server that takes so many requests a minute refuses all that come too early, however often: that says
        # nothing about this one. The budget alone bounds it.
        if not throttled and failed >= retry.attempts:
            raise error
        asked = error.retry_after if isinstance(error, (HTTPStatusError, TransientResponse)) else None
        if isinstance(error, TransientResponse) and asked is not None:
            self.throttle(asked, began)
        paused = throttled and self.pause.is_on
        seconds = asked or 0.0
        if paused:
            seconds = max(seconds, self.pause.seconds_left)
        elif asked is None or asked < _SHORTEST_PAUSE:
            seconds = policy.backoff(retry, min(failed, _MOST_FAILURES_OF_A_CROWD) if throttled else failed)
        left = max(0.0, retry.budget_seconds - (time.monotonic() - began))
        if seconds > left:
            error.add_note(f"not tried again: that would take {seconds:.1f} s, and the budget has {left:.1f} s left")
            raise error
        # A pause is waited for together with all others, before the next attempt.
        if not paused:
            await asyncio.sleep(seconds)

    async def _refuse(self, call: Call, response: ClientResponse, began: float) -> NoReturn:
        """Raise the error for a status of failure, and let all calls pause if it asks for that."""
        error = await self.status_error(call, response)
        if policy.is_throttling(error):
            self.throttle(error.retry_after, began)
        raise error

    def _note_quota(self, headers: Mapping[str, str]) -> None:
        for name in _QUOTA_HEADERS:
            if name in headers:
                break
        else:
            return
        quota = policy.quota(headers, time.time())
        # Those in flight use up what is left.
        if quota is None or quota.remaining >= self._in_flight:
            return
        # A longer time is left to the server, which may refuse what comes.
        if 0 < quota.reset_seconds <= self._retry.budget_seconds:
            self.pause.extend(quota.reset_seconds)

    # The login.

    def _ready_credentials(self) -> Credentials | None:
        made = self._auth.ready()
        if made is None:
            return None
        current = self._credentials
        return current if current is not None and made is current.made else self._with(made)

    async def _fetch_credentials(self) -> Credentials:
        return self._with(await self._auth.fetch(self._post_form))

    def _with(self, made: Mapping[str, str]) -> Credentials:
        query = self._auth.query
        has_login = bool(made or query or secret_headers(self.options.headers))
        self._credentials = Credentials({**self.options.headers, **made}, query, has_login, made)
        return self._credentials

    async def _post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Mapping[str, object]:
        """Ask for a token: with nothing of the Connection's, and with nothing of the answer in an error."""
        call = Call(
            "POST",
            append(None, url),
            {"Content-Type": FORM, "Accept": "application/json", **headers},
            urlencode(form).encode(),
            idempotent=True,
            is_anonymous=True,
        )
        body = await self.run(call, partial(read_body, max_bytes=_TOKEN_BYTES))
        try:
            decoded = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            decoded = None
        if not isinstance(decoded, dict):
            raise InvalidBody(f"{self.describe(call)} was answered with no JSON object")
        return decoded
