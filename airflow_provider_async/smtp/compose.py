# SPDX-License-Identifier: Apache-2.0
"""Mails made of messages, in the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeAlias

from airflow_provider_async.smtp.mail import Mail
from airflow_provider_async.smtp.message import Message
from airflow_provider_async.smtp.prepare import message_key, prepare
from airflow_provider_async.smtp.templates import Breather, Renderer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from email.headerregistry import Address
    from email.message import EmailMessage

    import jinja2

    from airflow_provider_async.core.keys import Key

__all__ = ["Composer", "Sendable", "key_of"]

#: What can be sent.
Sendable: TypeAlias = "Message | EmailMessage | Mail"

#: Larger bodies are made into mails in a thread.
_LARGE_BODY: Final = 50_000


class Composer:
    """
    Renders messages and makes mails of them, and lets other coroutines run meanwhile.

    :param from_email: the author of messages that name none.
    :param environment: as for :class:`~airflow_provider_async.smtp.templates.Renderer`, like ``context`` and
        ``finalize``.
    """

    def __init__(
        self,
        *,
        from_email: str | Address | None = None,
        environment: jinja2.Environment | None = None,
        context: Mapping[str, object] | None = None,
        finalize: Callable[[object], object] | None = None,
    ) -> None:
        self._from_email = from_email
        self._renderer = Renderer(environment=environment, context=context, finalize=finalize)
        self._breather = Breather()

    def prepare(self, message: Sendable, run: str | None = None) -> Mail | Awaitable[Mail]:
        """Make a mail of a message, or return what does; a mail costs nothing."""
        return message if isinstance(message, Mail) else self.compose(message, run)

    async def compose(self, message: Sendable, run: str | None = None) -> Mail:
        """
        Make a mail of a message; a mail is returned as it is.

        :param message: once rendered, it is not rendered again.
        :param run: as for :func:`~airflow_provider_async.smtp.prepare.prepare`.
        :raises InvalidMessage: naming what cannot be sent.
        """
        if isinstance(message, Mail):
            return message
        # Many small ones after the other take as long as a large one.
        await self._breather.breathe()
        if isinstance(message, Message):
            message = await self._renderer.render(message)
        if _takes_long(message):
            return await asyncio.to_thread(prepare, message, from_email=self._from_email, run=run)
        return prepare(message, from_email=self._from_email, run=run)


def key_of(message: Sendable) -> Key:
    """Return what tells a message from others of the same work: of a mail, its Message-ID."""
    return message.message_id if isinstance(message, Mail) else message_key(message)


def _takes_long(message: Message | EmailMessage) -> bool:
    if not isinstance(message, Message):
        return isinstance(message.get_payload(), list)
    has_files = bool(message.attachments or message.inline)
    return has_files or max(len(message.html or ""), len(message.text or "")) > _LARGE_BODY
