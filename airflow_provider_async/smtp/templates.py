# SPDX-License-Identifier: Apache-2.0
"""Templates of messages, rendered as Airflow renders those of tasks."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from airflow_provider_async.errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import jinja2

    from airflow_provider_async.smtp.message import Message

__all__ = ["Breather", "Renderer"]

_FILE = re.compile(r"\S+\.(html?|txt|jinja2?|j2)")

#: So many templates stay compiled, which takes a hundred times as long as to render them.
_COMPILED: Final = 128

#: For how long a coroutine may keep all others waiting.
_BREATH_SECONDS: Final = 0.005


class Breather:
    """Lets other coroutines run after every five milliseconds of work that awaits nothing."""

    def __init__(self) -> None:
        self._due = 0.0

    def begin(self) -> None:
        """Count from now on."""
        self._due = time.monotonic() + _BREATH_SECONDS

    async def breathe(self) -> None:
        """Let others run if it is time to."""
        if time.monotonic() >= self._due:
            await asyncio.sleep(0)
            self.begin()


class Renderer:
    """
    Renders the messages that have a ``context``.

    Values are escaped in HTML, unless they are marked as ``safe``, and not in the subject, in plain text and in links.

    :param environment: of Jinja; by default the DAG's, in which ``template_searchpath``, filters and macros are known,
        or outside of a task one that knows no files. It is copied, not changed.
    :param context: values for all messages; by default the running task's context, if there is one.
    :param finalize: given each value before it is escaped, returns what is written instead.
    """

    def __init__(
        self,
        *,
        environment: jinja2.Environment | None = None,
        context: Mapping[str, object] | None = None,
        finalize: Callable[[object], object] | None = None,
    ) -> None:
        self._finalize = finalize
        self._given = environment
        self._context = context
        self._compile = lru_cache(_COMPILED)(self._compile_text)
        self._environments: dict[bool, jinja2.Environment] = {}

    async def render(self, message: Message) -> Message:
        """
        Render what a message has of templates; one without ``context`` is returned as it is.

        Others run meanwhile, between two pieces of a template.

        :param message: keeps its :attr:`~airflow_provider_async.smtp.Message.resume_key`.
        :raises InvalidMessage: if a template is not found, is none, or refers to what is not there.
        """
        if message.context is None:
            return message
        self._open()
        values = {**(self._context or {}), **message.context}
        links = (message.unsubscribe,) if isinstance(message.unsubscribe, str) else message.unsubscribe
        return replace(
            message,
            subject=(await self._text(message, "subject", message.subject, values)).strip(),
            html=None if message.html is None else await self._body(message, "html", message.html, values),
            text=None if message.text is None else await self._body(message, "text", message.text, values),
            unsubscribe=[await self._text(message, "unsubscribe", link, values) for link in links],
            context=None,
            key=message.resume_key,
        )

    def _open(self) -> None:
        if self._environments:
            return
        from airflow_provider_async.runtime import compat

        if self._context is None:
            self._context = compat.current_context() or {}
        environment = self._given
        if environment is None and "dag" in self._context:
            environment = compat.template_environment(self._context)
        if environment is None:
            from jinja2 import DictLoader, StrictUndefined
            from jinja2.sandbox import SandboxedEnvironment

            environment = SandboxedEnvironment(loader=DictLoader({}), undefined=StrictUndefined)
        # The DAG's has no cache, and may be set up to give values of other types than text.
        self._environments = {
            escapes: environment.overlay(
                autoescape=escapes,
                cache_size=_COMPILED,
                enable_async=False,
                finalize=self._finalize or environment.finalize,
            )
            for escapes in (True, False)
        }

    async def _body(self, message: Message, field: str, text: str, values: Mapping[str, object]) -> str:
        if _FILE.fullmatch(text) is None:
            return await self._text(message, field, text, values, escapes=field == "html")
        environment = self._environments[field == "html"]
        return await self._generate(message, field, lambda: environment.get_template(text), values)

    async def _text(
        self, message: Message, field: str, text: str, values: Mapping[str, object], *, escapes: bool = False
    ) -> str:
        return await self._generate(message, field, lambda: self._compile(text, escapes), values)

    def _compile_text(self, text: str, escapes: bool) -> jinja2.Template:  # noqa: FBT001 - it is part of a cache's key
        return self._environments[escapes].from_string(text)

    async def _generate(
        self, message: Message, field: str, find: Callable[[], jinja2.Template], values: Mapping[str, object]
    ) -> str:
        from jinja2 import TemplateError

        breather = Breather()
        breather.begin()
        pieces = []
        try:
            for piece in find().generate(values):
                pieces.append(piece)
                await breather.breathe()
        except TemplateError as error:
            raise InvalidMessage(f"{field} of the message {message.subject!r} cannot be rendered: {error}") from error
        return "".join(pieces)
