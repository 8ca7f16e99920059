# SPDX-License-Identifier: Apache-2.0
"""``AsyncSmtpNotifier``: mails from the callbacks of DAGs and tasks."""

from __future__ import annotations

import asyncio
import threading
from contextvars import copy_context
from enum import Enum
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseNotifier

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import NotificationNotSent
from airflow_provider_async.runtime import compat
from airflow_provider_async.smtp.compose import Composer
from airflow_provider_async.smtp.hook import AsyncSMTPHook
from airflow_provider_async.smtp.message import Message
from airflow_provider_async.smtp.pool import SMTPClientPool
from airflow_provider_async.smtp.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_provider_async.runtime.hooks import ConnectionFields
    from airflow_provider_async.smtp.addresses import Addresses
    from airflow_provider_async.smtp.mail import Mail
    from airflow_provider_async.smtp.message import AttachmentLike
    from airflow_provider_async.smtp.options import SMTPOptions

__all__ = ["AsyncSmtpNotifier"]

# A callback of a DAG has a reason, and may have its last task beside it; one of a deadline has none of the two.
#
# Of a task that was never begun, or ended without a word, the DAG processor runs the callback, once it has failed:
# then there is no state.
_SUBJECT: Final = """\
{% if reason is not defined and ti is defined -%}
{{ ti.dag_id }}.{{ ti.task_id }}: {{ ti.state | default("failed", true) }}
{%- elif dag_run is defined -%}
{{ dag_run.dag_id | default(dag_run["dag_id"]) }}: {{ reason | default("notification") }}
{%- elif dag is defined -%}
{{ dag.dag_id }}: {{ reason | default("notification") }}
{%- else -%}
Airflow: {{ reason | default("notification") }}
{%- endif %}"""

_HTML: Final = """\
<table>
{% if dag is defined %}<tr><td>DAG</td><td>{{ dag.dag_id }}</td></tr>
{% endif %}{% if run_id is defined %}<tr><td>Run</td><td>{{ run_id }}</td></tr>
{% endif %}{% if reason is defined %}<tr><td>Reason</td><td>{{ reason }}</td></tr>
{% elif ti is defined %}<tr><td>Task</td><td>{{ ti.task_id | default("") }}</td></tr>
{% if ti.map_index is number and ti.map_index >= 0 %}<tr><td>Map index</td><td>{{ ti.map_index }}</td></tr>
{% endif %}<tr><td>Try</td><td>{{ ti.try_number | default("") }}</td></tr>
<tr><td>State</td><td>{{ ti.state | default("failed", true) }}</td></tr>
{% if exception is defined %}<tr><td>Error</td><td>{{ exception }}</td></tr>
{% endif %}{% if ti.log_url is defined %}<tr><td>Log</td><td><a href="{{ ti.log_url }}">{{ ti.log_url }}</a></td></tr>
{% endif %}{% endif %}</table>
"""


class AsyncSmtpNotifier(BaseNotifier):
    """
    Mails what happens to a task or a DAG: ``on_failure_callback=AsyncSmtpNotifier("ops@example.com")``.

    Each task calls it in a process of its own. When many fail at once, each of them leaves its mail in a folder of
    their machine, and one of them sends all over one connection. A mail that the server does not take in time stays
    there for a day, and goes with the next one.

    What is text may be a template, with the callback's context; see :class:`~airflow_provider_async.smtp.Message` for
    what each argument is.

    :param to: addresses.
    :param subject: by default the Connection's ``subject_template``, or what happened to what.
    :param html: by default the Connection's ``html_content_template``, or a table of what is known, unless there is
        ``text``.
    :param text: the body as plain text.
    :param cc: addresses.
    :param bcc: addresses.
    :param from_: the author; by default the Connection's ``from_email``.
    :param reply_to: addresses.
    :param attachments: paths of files, or each an :class:`~airflow_provider_async.smtp.Attachment`.
    :param headers: further ones.
    :param smtp_conn_id: the Connection's id.
    :param timeout: seconds until it is an error that the mail is not sent. Airflow ends a task that takes longer than
        20 seconds for all of its callbacks.
    :param context: for ``await AsyncSmtpNotifier(..., context=context)``, from Airflow 3.1 on.
    """

    def __init__(
        self,
        to: Addresses,
        *,
        subject: str | None = None,
        html: str | None = None,
        text: str | None = None,
        cc: Addresses | None = None,
        bcc: Addresses | None = None,
        from_: str | None = None,
        reply_to: Addresses | None = None,
        attachments: Sequence[AttachmentLike] = (),
        headers: Mapping[str, str] | None = None,
        smtp_conn_id: str = "smtp_default",
        timeout: float = 15.0,
        context: Context | None = None,
    ) -> None:
        # Airflow 3.0 knows no context here, and needs none.
        super().__init__(*(() if context is None else (context,)))
        self.to = to
        self.subject = subject
        self.html = html
        self.text = text
        self.cc = cc
        self.bcc = bcc
        self.from_ = from_
        self.reply_to = reply_to
        self.attachments = tuple(attachments)
        self.headers = dict(headers or {})
        self.smtp_conn_id = smtp_conn_id
        self.timeout = timeout

    def notify(self, context: Context) -> None:
        """
        Send the mail. Airflow calls this in a task's process, or in that of the DAG processor.

        :param context: of the callback.
        :raises NotificationNotSent: if the server refuses it, or does not take it in time.
        :raises InvalidMessage: if it cannot be sent as it is.
        """
        # In a thread of its own: the caller's may have an event loop that runs.
        failures: list[BaseException] = []
        variables = copy_context()

        def run() -> None:
            try:
                variables.run(asyncio.run, self.async_notify(context))
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                failures.append(error)

        thread = threading.Thread(target=run, name="notifier")
        thread.start()
        thread.join()
        if failures:
            raise failures[0]

    async def async_notify(self, context: Context) -> None:
        """
        Send the mail. Airflow calls this in the triggerer, for a deadline that was missed.

        :param context: of the callback.
        :raises NotificationNotSent: if the server refuses it, or does not take it in time.
        :raises InvalidMessage: if it cannot be sent as it is.
        """
        until = asyncio.get_running_loop().time() + self.timeout
        try:
            await self._send(dict(context), until)
        except TimeoutError as error:
            raise NotificationNotSent(
                f"the notification was not sent within {self.timeout:g} s; if it was made, it goes with the next one"
            ) from error

    async def _send(self, context: dict[str, Any], until: float) -> None:
        from airflow_provider_async.runtime.connections import get_connection

        async with asyncio.timeout_at(until):
            connection: ConnectionFields = await get_connection(self.smtp_conn_id)
            options = await AsyncSMTPHook(self.smtp_conn_id, connection=connection).read()
            message = await asyncio.to_thread(self._message, options)
            composer = Composer(from_email=options.from_email, context=context, finalize=_without_secrets)
            mail = await composer.compose(message)

        def connect() -> SMTPClientPool:
            # Whatever takes longer is for the next one to try.
            seconds = self.timeout / 2
            retry = Retry(attempts=2, budget_seconds=seconds)
            return SMTPClientPool(
                self.smtp_conn_id, connection=connection, pool_size=1, acquire_timeout=seconds, retry=retry
            )

        spool = Spool(_folder_name(options))
        try:
            waiting = spool.put(mail)
        except OSError as error:
            self.log.warning("notifications are sent over a connection each: %s", error)
            async with asyncio.timeout_at(until):
                await _send_alone(mail, connect())
        else:
            await spool.deliver(waiting, connect, until=until)

    def _message(self, options: SMTPOptions) -> Message:
        subject, html = self.subject, self.html
        if subject is None:
            subject = _SUBJECT if options.subject_template is None else _read(options.subject_template)
        if html is None and self.text is None:
            html = _HTML if options.html_content_template is None else _read(options.html_content_template)
        return Message(
            to=self.to,
            subject=subject,
            html=html,
            text=self.text,
            cc=self.cc,
            bcc=self.bcc,
            from_=self.from_,
            reply_to=self.reply_to,
            attachments=self.attachments,
            headers={"Auto-Submitted": "auto-generated", **self.headers},
            context={},
        )


def _without_secrets(value: object) -> object:
    """Mask in a value what Airflow masks in logs: the text of an error may have a password in it."""
    if hasattr(value, "__html__"):
        return value
    # The state of a task is one of an enumeration, whose members call themselves by its name, too.
    return compat.redact(str(value.value if isinstance(value, Enum) else value))


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").strip()


def _folder_name(options: SMTPOptions) -> str:
    """Return a name that processes share that send by the same Connection, and no others."""
    server = (options.conn_id, options.host, options.port, options.login)
    return blake2b(ascii(server).encode(), digest_size=8).hexdigest()


async def _send_alone(mail: Mail, pool: SMTPClientPool) -> None:
    async with pool:
        for result in await pool.send(mail, raise_on=None):
            if result.status != "sent":
                raise NotificationNotSent(
                    f"the notification was not sent to {result.recipient}: {result.code} {result.response}"
                )
