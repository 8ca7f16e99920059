# SPDX-License-Identifier: Apache-2.0
"""SMTPClientPool: many mails over a few connections."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_async.core.checks import check_above_zero, check_at_least
from airflow_provider_async.core.pause import Pause
from airflow_provider_async.core.pool import Pool
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolClosed
from airflow_provider_async.smtp.compose import Composer, key_of
from airflow_provider_async.smtp.dispatch import SendOptions
from airflow_provider_async.smtp.hook import AsyncSMTPHook
from airflow_provider_async.smtp.ledger import DEFAULT_WINDOW, checked_key
from airflow_provider_async.smtp.options import PRESETS
from airflow_provider_async.smtp.sending import Sending
from airflow_provider_async.smtp.throttle import Throttle

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
    from types import TracebackType

    import aiosmtplib
    import jinja2

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.pool import PoolStatistics
    from airflow_provider_async.core.shards import Shard
    from airflow_provider_async.core.values import Rate
    from airflow_provider_async.runtime.hooks import ConnectionFields
    from airflow_provider_async.smtp.compose import Sendable
    from airflow_provider_async.smtp.dispatch import OnUnknown
    from airflow_provider_async.smtp.login import TokenFunction
    from airflow_provider_async.smtp.options import Limits, SMTPOptions
    from airflow_provider_async.smtp.results import SendResult
    from airflow_provider_async.smtp.sending import RaiseOn
    from airflow_provider_async.smtp.session import Session

__all__ = ["SMTPClientPool"]

#: Greylisting wants minutes.
_RETRY = Retry(initial_seconds=1.0, max_seconds=60.0, budget_seconds=600.0)


class SMTPClientPool:
    """
    A few connections over which many mails are sent.

    ``async with SMTPClientPool("smtp_default") as pool:`` reads the Connection; connections are opened when they are
    needed, used one mail after the other, and closed at the end. A pool belongs to one event loop and is entered once.

    The limits may also stand in the Connection's extras, by the same names; what is given here wins, then an extra,
    then the preset.

    A mail is sent again after an answer of 4xx and after a connection that was lost before the mail's end was sent. It
    is never sent again after an answer of 5xx, nor, unless asked for, when the server had all of it and did not answer.
    When a server answers 421 or 432, all connections pause together.

    :param smtp_conn_id: the id of an ``smtp`` Connection.
    :param pool_size: connections, 4 by default.
    :param messages_per_connection: mails after which a connection is replaced, 100 by default.
    :param rate: how many mails may begin in a second, or a tuple of a number and seconds; spread evenly.
    :param recipients_per_day: how many recipients there may be in any 24 hours that the pool is open; further ones are
        deferred.
    :param recipients_per_envelope: a mail to more of them goes in several envelopes, 100 by default.
    :param preset: limits that are published: ``exchange_online``, ``gmail`` or ``google_workspace``.
    :param chunking_window: with so many mails at once waiting for their answer, where the server offers CHUNKING: much
        faster over a long way, but as many are unknown when the connection is lost. 0, not to use it, by default.
    :param timeout: seconds for reaching the server and for each of its answers, 30 by default.
    :param content_timeout: seconds for its answer to a whole mail, 600 by default.
    :param retry: the policy for mails: by default as often as the Connection's ``retry_limit`` says, five times, within
        ten minutes.
    :param token: returns a token for XOAUTH2, async or not; asked at each login.
    :param environment: of Jinja, for the templates of messages; by default that of the running task's DAG.
    :param dry_run: a folder into which each mail is written, as a file that mail programs open, instead of being sent;
        its results are those of a server that takes everything. No connection is opened.
    :param acquire_timeout: seconds that a connection is waited for.
    :param close_timeout: seconds that mails in flight have to end when the pool closes.
    :param max_idle: seconds after which an unused connection is closed; servers do so after some minutes themselves.
    :param max_lifetime: seconds after which a connection is replaced.
    :param shard: this task's part of the work, if several share it; the pool then has its share of ``max_connections``,
        ``rate`` and ``recipients_per_day``.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(
        self,
        smtp_conn_id: str = "smtp_default",
        *,
        pool_size: int | None = None,
        messages_per_connection: int | None = None,
        rate: Rate | None = None,
        recipients_per_day: int | None = None,
        recipients_per_envelope: int | None = None,
        preset: str | None = None,
        chunking_window: int | None = None,
        timeout: float | None = None,
        content_timeout: float | None = None,
        retry: Retry | None = None,
        token: TokenFunction | None = None,
        environment: jinja2.Environment | None = None,
        dry_run: str | os.PathLike[str] | None = None,
        acquire_timeout: float = 30.0,
        close_timeout: float = 30.0,
        max_idle: float | None = 60.0,
        max_lifetime: float | None = None,
        shard: Shard[Any] | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        counts = {
            "pool_size": pool_size,
            "messages_per_connection": messages_per_connection,
            "recipients_per_day": recipients_per_day,
            "recipients_per_envelope": recipients_per_envelope,
        }
        check_at_least(1, **counts)
        if chunking_window is not None and chunking_window < 0:
            raise ValueError(f"chunking_window must not be negative, but is {chunking_window}")
        check_above_zero(timeout=timeout, content_timeout=content_timeout, rate=rate)
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
        self.smtp_conn_id = smtp_conn_id
        self._hook = AsyncSMTPHook(smtp_conn_id, token=token, connection=connection)
        self._preset = preset
        self._limits: dict[str, Any] = {**counts, "rate": rate}
        self._overrides: dict[str, Any] = {
            "chunking_window": chunking_window,
            "connect_seconds": timeout,
            "command_seconds": timeout,
            "content_seconds": content_timeout,
        }
        self._environment = environment
        self._dry_run = dry_run
        self._retry = retry
        self._acquire_timeout = acquire_timeout
        self._close_timeout = close_timeout
        self._max_idle = max_idle
        self._max_lifetime = max_lifetime
        self._shard = shard
        self._opened: tuple[Pool[Session, Session], SMTPOptions, Throttle] | None = None

    async def __aenter__(self) -> Self:
        """
        Read the Connection and get ready to connect.

        :raises InvalidConnection: naming a field of the Connection that cannot be used.
        """
        # aiosmtplib is imported when it is used.
        from airflow_provider_async.smtp.dry_run import DrySession
        from airflow_provider_async.smtp.login import Connecting, connect_retry
        from airflow_provider_async.smtp.session import Session, is_broken

        if self._opened is not None:
            raise RuntimeError(f"{self._name} was entered before; a pool is entered once")
        options = await self._read()
        connect: Callable[[], Awaitable[Session]]
        policy = self._retry or _RETRY
        throttle = Throttle(
            rate=options.limits.rate,
            recipients_per_day=options.limits.recipients_per_day,
            pause=Pause(initial_seconds=policy.initial_seconds, max_seconds=policy.max_seconds),
        )
        if self._dry_run is None:
            # Reading the authorities' certificates takes 20 ms and more: once, for all connections.
            tls = await asyncio.to_thread(options.tls)
            connect = partial(Session.open, Connecting(options, tls, self._hook.token), options)
        else:
            connect = partial(DrySession.open, self._dry_run)
            throttle = Throttle()
        pool: Pool[Session, Session] = Pool(
            connect,
            close=lambda session: session.close(),
            size=options.limits.pool_size,
            is_usable=lambda session: session.is_usable,
            is_broken=is_broken,
            after_cancel="discard",
            acquire_timeout=self._acquire_timeout,
            close_timeout=self._close_timeout,
            max_idle=self._max_idle,
            max_lifetime=self._max_lifetime,
            retry=connect_retry(self._retry),
            name=self._name,
        )
        await pool.__aenter__()
        self._opened = pool, options, throttle
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._open[0].__aexit__(exc_type, exc, tb)

    async def close(self) -> None:
        """End what was begun and close the connections, as leaving ``async with`` does."""
        await self._open[0].close()

    def _composer(self, options: SMTPOptions) -> Composer:
        # Templates stay compiled for one piece of work.
        return Composer(from_email=options.from_email, environment=self._environment)

    async def _read(self) -> SMTPOptions:
        options = await self._hook.read()
        limits: Limits = options.limits if self._preset is None else PRESETS[self._preset]
        limits = replace(limits, **{name: value for name, value in self._limits.items() if value is not None})
        changes = {name: value for name, value in self._overrides.items() if value is not None}
        return replace(options, limits=limits.share(self._shard, options.conn_id), **changes)

    async def send(
        self,
        message: Sendable,
        *,
        on_unknown: OnUnknown = "report",
        retry: Retry | None = None,
        raise_on: RaiseOn | None = "all",
    ) -> list[SendResult]:
        """
        Send one message.

        :param message: as for :meth:`send_many`, like the others.
        :return: a result for each recipient.
        :raises SendFailed: by default, if there is no recipient that the server has taken it for.
        """
        sending = self.send_many([message], on_unknown=on_unknown, retry=retry, raise_on=raise_on, label="send")
        return [result async for result in sending]

    def send_many(
        self,
        messages: Iterable[Sendable] | AsyncIterable[Sendable],
        *,
        resume: str | None = None,
        key: Callable[[Sendable], Key] | None = None,
        window: int | None = None,
        on_unknown: OnUnknown = "report",
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        label: str | None = None,
        raise_on: RaiseOn | None = "all",
    ) -> Sending[Sendable]:
        """
        Send many messages, and iterate over the results as they come, one for each recipient.

        :param messages: an iterable or an async iterable, of any length, of messages of this package, those of the
            standard library (``email.message.EmailMessage``) or mails. What of them cannot be sent, a bad address or a
            template that is none, is a result: ``rejected``.
        :param resume: a name under which is kept what became of each recipient, in a task or a block of
            :func:`~airflow_provider_async.resumable`: the next try sends to those that are left. Before a message is
            sent, it is written down that it is going to be; what the server has taken is never sent again.
        :param key: what tells one message from another; by default as
            :attr:`Message.resume_key <airflow_provider_async.smtp.Message.resume_key>` says, or a mail's Message-ID.
        :param window: how many messages may be on their way without their outcome written down, 100 by default: as many
            at most are unknown after ``kill -9``. Fewer cost more time.
        :param on_unknown: what becomes of a mail that the server may have taken, because the connection was lost before
            it answered, or an earlier try was killed: ``report`` it as unknown, or ``resend`` it, with the same
            Message-ID.
        :param limit: how many connections at once; ``pool_size`` by default and at most.
        :param ordered: yield in the order of the messages.
        :param retry: another policy.
        :param label: what the work is called in errors and logs.
        :param raise_on: whether it is an error, raised after the last result, if ``any`` recipient was not sent to, or
            if ``all`` were not; ``None`` for never.
        :return: what to iterate over; ``await .report()`` sends everything and gives the counts.
        """
        pool, options, throttle = self._open
        check_at_least(1, limit=limit)
        if on_unknown not in ("report", "resend"):
            raise ValueError(f"on_unknown must be 'report' or 'resend', not {on_unknown!r}")
        if raise_on not in ("any", "all", None):
            raise ValueError(f"raise_on must be 'any', 'all' or None, not {raise_on!r}")
        if resume is None and (key is not None or window is not None):
            raise ValueError("key and window are for resume, which is not given")
        size = options.limits.pool_size
        how: SendOptions[Sendable] = SendOptions(
            prepare=self._composer(options).prepare,
            key=key_of if key is None else partial(checked_key, key),
            connections=size if limit is None else min(limit, size),
            recipients_per_envelope=options.limits.recipients_per_envelope,
            retry=retry or self._retry or replace(_RETRY, attempts=options.retry_limit + 1),
            on_unknown=on_unknown,
            label=label or "send_many",
            # A dry run sends nothing, so there is nothing that must not be sent again.
            resume=resume if self._dry_run is None else None,
            window=DEFAULT_WINDOW if window is None else window,
        )
        sending = Sending(pool, messages, how, throttle=throttle, ordered=ordered, raise_on=raise_on)
        pool.attach(sending)
        return sending

    @asynccontextmanager
    async def get_smtp_client(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """
        Borrow a connected client of aiosmtplib for oneself: ``async with pool.get_smtp_client() as client:``.

        :raises PoolTimeout: if none was free within the acquire time-out.
        :raises PoolConnectError: if the login is refused.
        :raises PoolClosed: if the pool is closed, or is being closed.
        :raises RuntimeError: in a dry run, which has none.
        """
        if self._dry_run is not None:
            raise RuntimeError(f"{self._name} is a dry run: it has no connection to give away")
        async with self._open[0].lease() as session:
            try:
                yield session.hand_back()
            finally:
                session.take_back()

    def statistics(self) -> PoolStatistics:
        """Return the counts of this moment: connections, leases, waiters."""
        return self._open[0].statistics()

    @property
    def _name(self) -> str:
        return f"SMTPClientPool({self.smtp_conn_id!r})"

    @property
    def _open(self) -> tuple[Pool[Session, Session], SMTPOptions, Throttle]:
        if self._opened is None:
            raise PoolClosed(f"{self._name} is not open; use 'async with'")
        return self._opened

    def __repr__(self) -> str:
        return f"<{self._name}: {self._opened[0] if self._opened else 'not open'}>"
