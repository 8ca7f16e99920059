# SPDX-License-Identifier: Apache-2.0
"""Logging in with what a Connection says, at OpenSSH's server and at asyncssh's."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import re
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

import asyncssh
import psutil
import pytest

from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.sftp import AsyncSFTPHook
from airflow_provider_async.sftp.session import is_transient, open_connection
from tests.servers.sftp import AsyncsshServer, Fields, FolderServer, asyncssh_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.servers.sftp import Key, Sshd


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[AsyncsshServer]:
    async with asyncssh_server(tmp_path) as server:
        yield server


async def names(connection: Fields, folder: str = "/") -> set[str]:
    async with AsyncSFTPHook(connection=connection).connect() as client:
        return set(await client.listdir(folder))


async def test_a_key_file_logs_in(sshd: Sshd) -> None:
    (sshd.files / "a.xml").touch()

    assert await names(sshd.connection(), str(sshd.files)) >= {"a.xml"}


async def test_the_text_of_a_key_logs_in(sshd: Sshd) -> None:
    await names(sshd.connection(key_file=None, private_key=sshd.user_key.text))

    assert sshd.logins == 1


async def test_an_encrypted_key_logs_in_with_its_passphrase(
    make_sshd: Callable[..., Sshd], keys: dict[str, Key]
) -> None:
    key = keys["encrypted"]
    sshd = make_sshd(user_key=key)

    await names(sshd.connection(private_key_passphrase=key.passphrase))
    await names(sshd.connection(key_file=None, private_key=key.text, private_key_passphrase=key.passphrase))

    assert sshd.logins == 2


async def test_a_key_file_without_a_passphrase_of_its_own_is_opened_with_the_password(
    make_sshd: Callable[..., Sshd], keys: dict[str, Key]
) -> None:
    sshd = make_sshd(user_key=keys["encrypted"])

    await names(dataclasses.replace(sshd.connection(), password="open sesame"))

    assert sshd.logins == 1


async def test_an_rsa_key_logs_in(make_sshd: Callable[..., Sshd], keys: dict[str, Key]) -> None:
    sshd = make_sshd(user_key=keys["rsa"])

    await names(sshd.connection())

    assert sshd.logins == 1


async def test_without_a_key_those_in_the_home_folder_are_tried(sshd: Sshd, home: Path) -> None:
    (home / ".ssh" / "id_ed25519").write_text(sshd.user_key.text)

    await names(sshd.connection(key_file=None))
    with pytest.raises(asyncssh.PermissionDenied):
        await names(sshd.connection(key_file=None, look_for_keys=False))


async def test_the_ssh_configuration_of_the_home_folder_counts(sshd: Sshd, home: Path) -> None:
    connection = sshd.connection()
    config = f"Host partner\n HostName 127.0.0.1\n User {connection.login}\n"
    (home / ".ssh" / "config").write_text(config)

    await names(dataclasses.replace(connection, host="partner", login=None))

    assert sshd.logins == 1


async def test_a_password_logs_in(alice: AsyncsshServer) -> None:
    await names(alice.connection())

    assert alice.attempts == [("alice", "right")]


async def test_a_wrong_password_is_tried_once(alice: AsyncsshServer) -> None:
    with pytest.raises(asyncssh.PermissionDenied) as raised:
        await names(dataclasses.replace(alice.connection(), password="wrong"))

    assert alice.attempts == [("alice", "wrong")]
    assert "wrong" not in str(raised.value)
    assert f"port {alice.port} refuses user 'alice' with the password: " in str(raised.value)


async def test_compression_is_agreed_on_when_asked_for(alice: AsyncsshServer) -> None:
    for extras, algorithm in (({"compress": True}, "zlib@openssh.com"), ({}, "none")):
        connection = await AsyncSFTPHook(connection=alice.connection(**extras)).open_connection()
        async with connection:
            assert connection.get_extra_info("send_compression") == algorithm


# Host keys.


async def test_the_host_key_of_another_server_is_refused(sshd: Sshd, keys: dict[str, Key]) -> None:
    with pytest.raises(asyncssh.HostKeyNotVerifiable, match=r"'sftp_test': .* does not have the key in extra host_key"):
        await names(sshd.connection(host_key=keys["stranger"].public))


async def test_a_host_key_may_lack_its_type_and_have_a_comment(sshd: Sshd) -> None:
    await names(sshd.connection(host_key=sshd.host_key.public.split()[1]))
    await names(sshd.connection(host_key=f" {sshd.host_key.public} root@sftp\n"))

    assert sshd.logins == 2


async def test_an_unknown_host_is_refused_with_a_way_out(sshd: Sshd) -> None:
    with pytest.raises(asyncssh.HostKeyNotVerifiable) as raised:
        await names(sshd.connection(host_key=None))

    for word in ("'sftp_test'", "127.0.0.1", "~/.ssh/known_hosts", "host_key", "no_host_key_check"):
        assert word in str(raised.value)
    assert sshd.logins == 0


@pytest.mark.parametrize("place", ["~/.ssh/known_hosts", "~/partners"])
async def test_a_known_host_is_accepted(sshd: Sshd, home: Path, place: str) -> None:
    (home / place[2:]).write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key.public}\n")

    await names(sshd.connection(host_key=None, known_hosts=None if "ssh" in place else place))

    assert sshd.logins == 1


async def test_a_known_host_with_another_key_is_refused(sshd: Sshd, home: Path, keys: dict[str, Key]) -> None:
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{sshd.port} {keys['stranger'].public}\n")

    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await names(sshd.connection(host_key=None))


async def test_an_ssh_configuration_does_not_switch_the_check_off(sshd: Sshd, home: Path) -> None:
    (home / ".ssh" / "config").write_text("UserKnownHostsFile none\nStrictHostKeyChecking no\n")

    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await names(sshd.connection(host_key=None))


async def test_any_host_is_accepted_when_the_check_is_switched_off(sshd: Sshd) -> None:
    await names(sshd.connection(host_key=None, no_host_key_check=True))

    assert sshd.logins == 1


# Keys that cannot be used are refused before the server hears of them.


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        ({"key_file": "/no/such/key"}, "extra key_file names '/no/such/key', which cannot be read: No such file"),
        ({"key_file": "/"}, "extra key_file names '/', which cannot be read: Is a directory"),
        ({"private_key": "-----BEGIN SECRET"}, "extra private_key cannot be used: Invalid private key"),
        ({"host_key": "ssh-ed25519 AAAA"}, "extra host_key is not a public key"),
        ({"host_key": "AAAA"}, "extra host_key is not a public key"),
        ({"host_key": "no base64"}, "extra host_key is not a public key"),
        ({"host_key": "sftp.example.com ssh-ed25519 AAAA"}, "extra host_key is not a public key"),
    ],
)
async def test_an_unusable_key_is_refused_by_name(extras: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidConnection) as raised:
        await AsyncSFTPHook(connection=Fields("127.0.0.1", extra_dejson=extras)).read()

    assert f"Connection 'sftp_test': {message}" in str(raised.value)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize("extra", ["key_file", "private_key"])
async def test_a_wrong_or_missing_passphrase_is_refused_by_name(keys: dict[str, Key], extra: str) -> None:
    key = keys["encrypted"]
    extras: dict[str, object] = {extra: str(key.file) if extra == "key_file" else key.text}

    with pytest.raises(InvalidConnection, match=f"extra private_key_passphrase does not open extra {extra}") as wrong:
        await AsyncSFTPHook(connection=Fields("h", extra_dejson=extras | {"private_key_passphrase": "guess"})).read()
    with pytest.raises(InvalidConnection, match=f"extra {extra} cannot be used: Passphrase must be specified"):
        await AsyncSFTPHook(connection=Fields("h", extra_dejson=extras)).read()
    assert "guess" not in str(wrong.value)


async def test_a_dsa_host_key_is_refused() -> None:
    key = asyncssh.generate_private_key("ssh-dss").export_public_key().decode()

    with pytest.raises(InvalidConnection, match="host_key is a DSA key"):
        await AsyncSFTPHook(connection=Fields("h", extra_dejson={"host_key": key})).read()


# The connection itself.


async def test_the_connection_is_closed_with_the_client(sshd: Sshd) -> None:
    hook = AsyncSFTPHook(connection=sshd.connection())
    session = await hook.open_session()
    assert session.is_usable()

    await session.close()

    assert not session.is_usable()
    with pytest.raises(asyncssh.SFTPError):
        await session.client.stat("/")


async def test_a_server_without_sftp_is_left_again(tmp_path: Path) -> None:
    async with asyncssh_server(tmp_path, None) as server:
        with pytest.raises(asyncssh.ChannelOpenError):
            await AsyncSFTPHook(connection=server.connection()).open_session()


async def test_a_connection_that_is_lost_before_sftp_begins_counts_as_lost(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def open_and_lose(*args: Any) -> asyncssh.SSHClientConnection:  # noqa: ANN401
        connection = await open_connection(*args)
        connection.abort()
        await connection.wait_closed()
        return connection

    monkeypatch.setattr("airflow_provider_async.sftp.session.open_connection", open_and_lose)

    with pytest.raises(asyncssh.ConnectionLost, match="SSH connection closed"):
        await AsyncSFTPHook(connection=sshd.connection()).open_session()


async def test_a_server_that_hangs_up_before_sftp_begins_counts_as_lost(tmp_path: Path) -> None:
    class HangsUp(FolderServer):
        def __init__(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
            super().__init__(chan)
            self.connection.abort()

    async with asyncssh_server(tmp_path, HangsUp) as server:
        with pytest.raises((asyncssh.Error, OSError)) as raised:
            await AsyncSFTPHook(connection=server.connection()).open_session()

    assert is_transient(raised.value)


async def test_a_server_that_cannot_be_reached_is_an_os_error(sshd: Sshd) -> None:
    sshd.stop()

    # Refused; or reset, while a process of the server's that is just ending still holds the port.
    with pytest.raises(ConnectionError):
        await names(sshd.connection())


async def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    # Connections are made, and wait to be accepted for ever.
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        await names(Fields("127.0.0.1", silent.getsockname()[1], extra_dejson={"conn_timeout": 0.05}))


def test_the_test_of_a_connection_works_without_an_event_loop(sshd: Sshd) -> None:
    assert AsyncSFTPHook(connection=sshd.connection()).test_connection() == (True, "Connection successfully tested")


async def test_the_test_of_a_connection_works_inside_of_an_event_loop(sshd: Sshd, keys: dict[str, Key]) -> None:
    connection = sshd.connection(key_file=str(keys["stranger"].file))

    succeeded, message = AsyncSFTPHook(connection=connection).test_connection()

    assert not succeeded
    assert "refuses user" in message


def test_the_test_of_a_connection_tells_what_is_wrong_with_it() -> None:
    assert AsyncSFTPHook(connection=Fields(None)).test_connection() == (
        False,
        "Connection 'sftp_test': host is missing",
    )


async def test_a_connection_is_read_once_by_its_id(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def get_connection(conn_id: str) -> Fields:
        asked.append(conn_id)
        return sshd.connection()

    connections = type(sys)("airflow_provider_async.runtime.connections")
    monkeypatch.setattr(connections, "get_connection", get_connection, raising=False)
    monkeypatch.setitem(sys.modules, connections.__name__, connections)
    hook = AsyncSFTPHook("partner")

    async with hook.connect(), hook.connect():
        pass

    assert asked == ["partner"]
    assert sshd.logins == 2


async def test_a_login_leaves_nothing_in_the_log(sshd: Sshd, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await names(sshd.connection())

    assert not [record for record in caplog.records if record.name.startswith("asyncssh")]


async def ciphers(connection: Fields) -> tuple[str, str]:
    opened = await AsyncSFTPHook(connection=connection).open_connection()
    try:
        return opened.get_extra_info("send_cipher"), opened.get_extra_info("recv_cipher")
    finally:
        opened.close()
        await opened.wait_closed()


async def test_aes_gcm_is_preferred(sshd: Sshd) -> None:
    chosen = await ciphers(sshd.connection())

    assert all(re.fullmatch(r"aes(128|256)-gcm@openssh\.com", cipher) for cipher in chosen)


async def test_a_server_without_aes_gcm_is_served_too(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd(options="Ciphers chacha20-poly1305@openssh.com")

    assert await ciphers(sshd.connection()) == ("chacha20-poly1305@openssh.com",) * 2


async def test_the_ciphers_can_be_chosen(sshd: Sshd) -> None:
    # Names that only paramiko knows do no harm.
    connection = sshd.connection(ciphers=["none-such", "aes192-ctr"])

    assert await ciphers(connection) == ("aes192-ctr",) * 2


async def test_ciphers_that_nobody_knows_are_refused() -> None:
    with pytest.raises(InvalidConnection, match="extra ciphers names none that can be used: "):
        await ciphers(Fields("host", extra_dejson={"ciphers": ["none-such"]}))


async def test_algorithms_can_be_disabled(sshd: Sshd) -> None:
    disabled = {"ciphers": ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "none-such"], "keys": ["ssh-rsa"]}

    chosen = await ciphers(sshd.connection(disabled_algorithms=disabled))

    assert chosen == ("chacha20-poly1305@openssh.com",) * 2


async def test_a_host_key_of_a_disabled_kind_is_not_accepted(sshd: Sshd) -> None:
    # Whichever of the two notices first.
    with pytest.raises((asyncssh.DisconnectError, ConnectionError)):
        await names(sshd.connection(disabled_algorithms={"keys": ["ssh-ed25519"]}))


async def test_what_leaves_no_algorithm_is_refused() -> None:
    extras = {"disabled_algorithms": {"compression": ["none", "zlib", "zlib@openssh.com"]}}
    with pytest.raises(InvalidConnection, match="extra disabled_algorithms leaves no compression"):
        await names(Fields("host", extra_dejson=extras))


async def test_a_way_that_the_ssh_configuration_names_is_taken(sshd: Sshd, home: Path) -> None:
    program = home / "proxy"
    program.write_text(f"#!{sys.executable}\n{PROXY_PROGRAM}")
    program.chmod(0o700)
    (home / ".ssh" / "config").write_text(f"Host behind\n  ProxyCommand {program} {sshd.port} {home / 'used'}\n")
    before = processes()

    await names(dataclasses.replace(sshd.connection(), host="behind"))
    assert (home / "used").exists()
    # It ends by itself when the connection is closed, and the event loop has to see that.
    await until(lambda: processes() <= before)
    await asyncio.sleep(0)


def processes() -> set[object]:
    """Return the processes that this one has started, and what waits for their ends."""
    waiting = {thread for thread in threading.enumerate() if thread.name.startswith("waitpid")}
    return {*psutil.Process().children(), *waiting}


#: Connects its standard streams with a port.
PROXY_PROGRAM = """
import os, pathlib, socket, sys, threading
pathlib.Path(sys.argv[2]).touch()
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def up():
    while data := os.read(0, 65536):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
threading.Thread(target=up, daemon=True).start()
while data := peer.recv(65536):
    os.write(1, data)
"""
