# SPDX-License-Identifier: Apache-2.0
"""
What an Airflow ``sftp`` or ``ssh`` Connection says, checked field by field.

The fields mean what they mean to Airflow's own ``SFTPHook`` (on paramiko) and ``SFTPHookAsync`` (on asyncssh), so
that an existing Connection works unchanged. Where those two disagree, the safer reading is chosen, and a comment
says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_async.core.limits import ServerLimits
from airflow_provider_async.runtime.extras import Extras, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_async.core.values import Concurrency
    from airflow_provider_async.errors import InvalidConnection
    from airflow_provider_async.runtime.hooks import ConnectionFields

__all__ = ["SFTPSettings", "read_settings"]

SSH_PORT = 22
MAX_PORT = 65535

DEFAULT_POOL_SIZE = 2
DEFAULT_OPERATION_SECONDS = 60.0

#: For reaching the server and logging in. SFTPHook bounds the two steps apart, SFTPHookAsync neither.
DEFAULT_CONNECT_SECONDS = 30.0


#: What paramiko, and so SSHHook, can be told not to use.
_ALGORITHM_KINDS = frozenset({"ciphers", "compression", "kex", "keys", "macs", "pubkeys"})


@dataclass(frozen=True, kw_only=True)
class SFTPSettings:
    """
    A Connection, read and checked as far as that goes without touching a file or the network.

    :param conn_id: what errors call the Connection.
    :param host: the server's name or address.
    :param port: the server's port.
    :param login: the user's name; ``None`` is left to ``~/.ssh/config`` or the local user's name.
    :param password: for a login with a password.
    :param key_file: a private key to log in with.
    :param private_key: the text of a private key to log in with, instead of a file.
    :param passphrase: of the private key, in text or in a file.
    :param look_for_keys: whether keys in ``~/.ssh`` and an SSH agent are tried when no key is given.
    :param host_key: the server's public key, as in a known_hosts file but without the host's name.
    :param known_hosts: a file with host keys; ``None`` for ``~/.ssh/known_hosts``.
    :param check_host_key: whether the server has to prove who it is.
    :param compress: whether data are compressed on the wire, if the server agrees.
    :param ciphers: the only ciphers to be offered to the server, in this order; ``None`` for the usual ones.
    :param disabled_algorithms: names of algorithms not to be offered, by kind: ``ciphers``, ``macs``, ``kex``, ``keys``
        (the server's), ``pubkeys`` (the client's) and ``compression``, as paramiko calls them.
    :param connect_seconds: how long reaching the server and logging in may take.
    :param operation_seconds: how long the server may take to answer one request.
    :param pool_size: connections of a pool.
    :param max_concurrency: operations in flight over all connections of a pool, if the Connection says; or ``auto``.
    :param limits: what the server takes from all tasks together.
    """

    conn_id: str
    host: str
    port: int = SSH_PORT
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    private_key: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    look_for_keys: bool = True
    host_key: str | None = None
    known_hosts: Path | None = None
    check_host_key: bool = True
    compress: bool = False
    ciphers: tuple[str, ...] | None = None
    disabled_algorithms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    connect_seconds: float = DEFAULT_CONNECT_SECONDS
    operation_seconds: float = DEFAULT_OPERATION_SECONDS
    pool_size: int = DEFAULT_POOL_SIZE
    max_concurrency: Concurrency | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)

    def invalid(self, name: str, problem: str) -> InvalidConnection:
        """Return the error to be raised for a field that turned out to be unusable."""
        return invalid(self.conn_id, name, problem)


def read_settings(connection: ConnectionFields, conn_id: str) -> SFTPSettings:
    """
    Read a Connection.

    :param connection: an Airflow Connection, or whatever has its fields.
    :param conn_id: what errors call it.
    :raises InvalidConnection: naming the Connection and the field.
    """
    extras = Extras(connection.extra_dejson, conn_id)
    host = (connection.host or "").strip()
    if not host:
        raise invalid(conn_id, "host", "is missing")
    port = connection.port or SSH_PORT
    if not 0 < port <= MAX_PORT:
        raise invalid(conn_id, "port", f"must be between 1 and {MAX_PORT}, not {port}")

    key_file, private_key = extras.text("key_file"), extras.text("private_key")
    if key_file and private_key:
        # SFTPHookAsync takes the text and says nothing; SFTPHook refuses, for one of them is a mistake.
        raise invalid(conn_id, "extras key_file and private_key", "are both given; give one of them")
    check_host_key, host_key = not _skips_host_key_check(extras), extras.text("host_key")
    if host_key and not check_host_key:
        raise invalid(conn_id, "extra no_host_key_check", "contradicts extra host_key; give one of them")

    # SFTPHook asks for compression unless told not to, SFTPHookAsync never does; it is slower on most networks.
    compress = extras.boolean("compress")
    # Extra allow_host_key_change is not read: to SFTPHook it means no host key check at all, to SFTPHookAsync nothing.
    return SFTPSettings(
        conn_id=conn_id,
        host=host,
        port=port,
        login=connection.login or None,
        # As it is: SFTPHook strips blanks from a password, which may be part of it.
        password=connection.password or None,
        key_file=Path(key_file).expanduser() if key_file else None,
        private_key=private_key,
        # SFTPHookAsync knows both names and prefers the short one.
        passphrase=extras.text("passphrase") or extras.text("private_key_passphrase"),
        look_for_keys=extras.boolean("look_for_keys") is not False,
        host_key=host_key,
        known_hosts=_known_hosts(extras, needed=check_host_key and not host_key),
        check_host_key=check_host_key,
        compress=compress is True,
        ciphers=extras.names("ciphers"),
        disabled_algorithms=_disabled_algorithms(extras),
        connect_seconds=extras.seconds("conn_timeout") or DEFAULT_CONNECT_SECONDS,
        operation_seconds=extras.seconds("operation_timeout") or DEFAULT_OPERATION_SECONDS,
        pool_size=extras.count("pool_size") or DEFAULT_POOL_SIZE,
        max_concurrency=extras.concurrency("max_concurrency"),
        limits=extras.limits(),
    )


def _skips_host_key_check(extras: Extras) -> bool:
    answer = extras.boolean("no_host_key_check")
    if answer is None:
        # The older name of the same.
        answer = extras.boolean("ignore_hostkey_verification")
    return answer is True


def _known_hosts(extras: Extras, *, needed: bool) -> Path | None:
    name = extras.text("known_hosts")
    if name is None:
        return None
    if name.lower() == "none":
        # To SFTPHookAsync this switches the check off, to SFTPHook it means nothing.
        raise extras.invalid("known_hosts", "is 'none'; to skip host key checks, set no_host_key_check to true")
    path = Path(name).expanduser()
    if needed and not path.is_file():
        raise extras.invalid("known_hosts", f"names {str(path)!r}, which is not a file")
    return path


def _disabled_algorithms(extras: Extras) -> dict[str, tuple[str, ...]]:
    name = "disabled_algorithms"
    by_kind = extras.mapping(name)
    unknown = sorted(set(by_kind) - _ALGORITHM_KINDS)
    if unknown:
        raise extras.invalid(
            name, f"has no {', '.join(map(repr, unknown))}, only {', '.join(sorted(_ALGORITHM_KINDS))}"
        )
    return {kind: extras.as_names(f"{name}[{kind!r}]", value) for kind, value in by_kind.items()}
