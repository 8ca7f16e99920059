# SPDX-License-Identifier: Apache-2.0
"""A Connection means to AsyncSFTPHook what it means to Airflow's SFTPHook."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection

from airflow_provider_async.sftp import AsyncSFTPHook

pytest.importorskip("airflow.providers.sftp", reason="Airflow's own SFTP provider is not installed")

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.providers.sftp.hooks.sftp import SFTPHook

    from tests.servers.sftp import Key, Sshd

pytestmark = pytest.mark.filterwarnings("ignore")  # paramiko's, and of deprecated extras


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SFTPHook]:
    """Airflow's hook for a Connection."""

    def make(connection: Connection) -> SFTPHook:
        from airflow.providers.sftp.hooks.sftp import SFTPHook

        monkeypatch.setenv("AIRFLOW_CONN_PARITY", connection.as_json())
        hook = SFTPHook("parity")
        hook.conn_retry_attempts = 1  # with pauses of seconds in between
        return hook

    return make


def connection(**fields: Any) -> Connection:  # noqa: ANN401 - of several types
    extra = fields.pop("extra", {})
    return Connection(
        conn_id="parity", conn_type="sftp", extra=json.dumps(extra), **{"host": "sftp.example.com", **fields}
    )


@pytest.mark.parametrize(
    "given",
    [
        connection(),
        connection(port=2222, login="alice", password="secret"),
        connection(extra={"look_for_keys": "false", "conn_timeout": "5"}),
        connection(extra={"no_host_key_check": "true"}),
        connection(extra={"no_host_key_check": True, "look_for_keys": False}),
        connection(extra={"no_host_key_check": "false", "compress": "false"}),
        connection(extra={"ignore_hostkey_verification": True}),
        connection(extra={"ciphers": ["aes256-ctr"], "disabled_algorithms": {"pubkeys": ["rsa-sha2-512"]}}),
    ],
    ids=lambda given: given.extra,
)
async def test_fields_and_extras_mean_the_same(theirs: Callable[..., SFTPHook], given: Connection) -> None:
    hook = theirs(given)
    settings = await AsyncSFTPHook(connection=given).read()

    assert settings.host == hook.remote_host
    assert settings.port == hook.port
    assert (settings.login or getpass.getuser()) == hook.username
    assert settings.password == (hook.password or None)
    assert (str(settings.key_file) if settings.key_file else None) == (hook.key_file or None)
    assert settings.look_for_keys == hook.look_for_keys
    assert settings.check_host_key == (not hook.no_host_key_check)
    assert settings.connect_seconds == (hook.conn_timeout or 30)
    assert list(settings.ciphers or []) == list(hook.ciphers or [])
    assert {kind: list(names) for kind, names in settings.disabled_algorithms.items()} == (
        hook.disabled_algorithms or {}
    )


#: ``None`` leaves an extra out; keys stand for the texts of those of the same name.
ACCEPTED: dict[str, dict[str, object]] = {
    "a key file": {},
    "the text of a key": {"key_file": None, "private_key": "user"},
    "the text of an encrypted key": {
        "key_file": None,
        "private_key": "encrypted",
        "private_key_passphrase": "open sesame",
    },
    "an unknown host that is not checked": {"host_key": None, "no_host_key_check": "true"},
    "a cipher": {"ciphers": ["aes192-ctr"]},
    "no compression": {"compress": "false"},
}
REFUSED: dict[str, dict[str, object]] = {
    "a stranger's key": {"key_file": None, "private_key": "stranger", "look_for_keys": "false"},
    "no key": {"key_file": None, "look_for_keys": "false"},
    "another host key": {"host_key": "stranger"},
    "an unknown host": {"host_key": None},
    "a host key and no check": {"no_host_key_check": "true"},
    "two keys": {"private_key": "user"},
}


@pytest.mark.parametrize("case", ACCEPTED | REFUSED)
async def test_the_same_connections_work_and_the_same_are_refused(
    make_sshd: Callable[..., Sshd], keys: dict[str, Key], theirs: Callable[..., SFTPHook], case: str
) -> None:
    extras = dict((ACCEPTED | REFUSED)[case])
    name = extras.get("private_key")
    sshd = make_sshd(user_key=keys["encrypted" if name == "encrypted" else "user"])
    if name is not None:
        extras["private_key"] = keys[str(name)].text
    if extras.get("host_key"):
        extras["host_key"] = keys[str(extras["host_key"])].public
    usual = sshd.connection()
    extras = {name: value for name, value in (dict(usual.extra_dejson) | extras).items() if value is not None}
    given = connection(host=usual.host, port=usual.port, login=usual.login, extra=extras)
    (sshd.files / "a.xml").touch()

    is_accepted = case in ACCEPTED
    assert await ours_works(given, str(sshd.files)) == is_accepted
    assert theirs_works(theirs, given, str(sshd.files)) == is_accepted


async def ours_works(given: Connection, folder: str) -> bool:
    try:
        async with AsyncSFTPHook(connection=given).connect() as client:
            return "a.xml" in await client.listdir(folder)
    except Exception:  # noqa: BLE001 - each library has errors of its own
        return False


def theirs_works(theirs: Callable[..., SFTPHook], given: Connection, folder: str) -> bool:
    try:
        hook = theirs(given)
        try:
            return bool(hook.list_directory(folder) == ["a.xml"])
        finally:
            hook.close_conn()
    except Exception:  # noqa: BLE001 - each library has errors of its own
        return False
