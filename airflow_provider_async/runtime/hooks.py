# SPDX-License-Identifier: Apache-2.0
"""What the hooks of all protocols have in common: how they find a Connection, and how they are tested from the UI."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

__all__ = ["ConnectionFields", "find_connection", "try_in_thread"]

F = TypeVar("F", bound="ConnectionFields")


class ConnectionFields(Protocol):
    """The part of an Airflow ``Connection`` that all protocols read."""

    @property
    def host(self) -> str | None:
        """The server's name or address."""

    @property
    def port(self) -> int | None:
        """The server's port."""

    @property
    def login(self) -> str | None:
        """The user's name."""

    @property
    def password(self) -> str | None:
        """The user's password."""

    @property
    def extra_dejson(self) -> Mapping[str, object]:
        """The extras, decoded."""


async def find_connection(given: F | None, conn_id: str) -> tuple[F, str]:
    """
    Return a Connection, and what errors call it.

    :param given: the Connection itself, if the caller has it.
    :param conn_id: the id of the one that Airflow is asked for otherwise.
    """
    if given is None:
        from airflow_provider_async.runtime.connections import get_connection

        given = cast("F", await get_connection(conn_id))
    return given, getattr(given, "conn_id", None) or conn_id


def try_in_thread(attempt: Callable[[], Coroutine[object, object, object]]) -> tuple[bool, str]:
    """
    Try a Connection, from code that is not async, as Airflow's hooks are.

    :param attempt: connects, and raises what is wrong.
    :return: whether it worked, and a sentence for the user.
    """
    answer: list[tuple[bool, str]] = []

    def run() -> None:
        try:
            asyncio.run(attempt())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            answer.append((False, str(error) or type(error).__name__))
        else:
            answer.append((True, "Connection successfully tested"))

    # In a thread, which has no event loop yet: a caller may be inside of one without knowing it.
    thread = threading.Thread(target=run, name="test_connection")
    thread.start()
    thread.join()
    return answer[0]
