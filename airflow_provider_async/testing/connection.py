# SPDX-License-Identifier: Apache-2.0
"""What is read of an Airflow Connection, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Connection"]


@dataclass(frozen=True)
class Connection:
    """
    The fields of an Airflow Connection that hooks and pools read.

    :param host: the server's name or address.
    :param port: the server's port.
    :param login: the user's name.
    :param password: the user's password.
    :param extra_dejson: the extras, decoded.
    :param schema: such as ``https``.
    :param conn_id: what errors call it.
    """

    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra_dejson: Mapping[str, object] = field(default_factory=dict, repr=False)
    schema: str | None = None
    conn_id: str = "test"
