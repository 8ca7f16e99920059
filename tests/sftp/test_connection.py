# SPDX-License-Identifier: Apache-2.0
"""Reading the fields and extras of a Connection; no server is needed for that."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection

from airflow_provider_async.core.limits import ServerLimits
from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.sftp.connection import SFTPSettings, read_settings
from tests.servers.sftp import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read(
    host: str | None = "sftp.example.com",
    *,
    extras: Mapping[str, object] | None = None,
    **fields: Any,  # noqa: ANN401 - of several types
) -> SFTPSettings:
    return read_settings(Fields(host, extra_dejson=extras or {}, **fields), "my_conn")


def test_a_bare_host_is_enough_and_everything_else_has_a_safe_default() -> None:
    assert read() == SFTPSettings(
        conn_id="my_conn",
        host="sftp.example.com",
        port=22,
        login=None,
        password=None,
        look_for_keys=True,
        check_host_key=True,
        compress=False,
        connect_seconds=30.0,
        pool_size=2,
        max_concurrency=None,
        operation_seconds=60.0,
        ciphers=None,
        disabled_algorithms={},
    )


def test_fields_and_extras_are_read(home: Path) -> None:
    (home / "hosts").write_text("")
    settings = read(
        port=2222,
        login="alice",
        password=" p ",
        extras={
            "key_file": "~/key",
            "private_key_passphrase": "phrase",
            "known_hosts": "~/hosts",
            "look_for_keys": "false",
            "compress": True,
            "conn_timeout": "5",
            "pool_size": 3,
            "max_concurrency": "10",
            "max_connections": 4,
            "max_requests": "40",
            "operation_timeout": 7,
            "ciphers": ["aes256-ctr"],
            "disabled_algorithms": {"macs": ["hmac-sha1"]},
        },
    )

    assert settings == SFTPSettings(
        conn_id="my_conn",
        host="sftp.example.com",
        port=2222,
        login="alice",
        password=" p ",
        key_file=home / "key",
        passphrase="phrase",
        known_hosts=home / "hosts",
        look_for_keys=False,
        compress=True,
        connect_seconds=5.0,
        pool_size=3,
        max_concurrency=10,
        limits=ServerLimits(max_connections=4, max_requests=40),
        operation_seconds=7.0,
        ciphers=("aes256-ctr",),
        disabled_algorithms={"macs": ("hmac-sha1",)},
    )


def test_empty_fields_and_extras_count_as_not_given() -> None:
    empty = dict.fromkeys(["key_file", "private_key", "no_host_key_check", "conn_timeout", "pool_size", "host_key"], "")

    assert read(login="", password="", port=0, extras=empty) == read()


@pytest.mark.parametrize("value", [True, "true", "True"])
@pytest.mark.parametrize("name", ["no_host_key_check", "ignore_hostkey_verification"])
def test_the_host_key_check_is_switched_off_by_either_name(name: str, value: object) -> None:
    assert read(extras={name: value}).check_host_key is False


def test_the_newer_name_of_an_extra_wins_over_the_older() -> None:
    assert read(extras={"no_host_key_check": False, "ignore_hostkey_verification": True}).check_host_key is True
    assert read(extras={"passphrase": "a", "private_key_passphrase": "b"}).passphrase == "a"


@pytest.mark.parametrize(
    ("extras", "field"),
    [
        ({"ciphers": "aes256-ctr"}, "extra ciphers must be a list of names"),
        ({"ciphers": [1]}, "extra ciphers must be a list of names"),
        ({"disabled_algorithms": ["aes256-ctr"]}, "extra disabled_algorithms must be an object, not of type list"),
        ({"disabled_algorithms": {"cipher": []}}, "extra disabled_algorithms has no 'cipher', only ciphers, "),
        ({"disabled_algorithms": {"kex": "all"}}, "extra disabled_algorithms['kex'] must be a list of names"),
        ({"key_file": "/k", "private_key": "-----BEGIN"}, "key_file and private_key"),
        ({"host_key": "ssh-rsa AAAA", "no_host_key_check": True}, "no_host_key_check"),
        ({"no_host_key_check": "yes"}, "no_host_key_check"),
        ({"no_host_key_check": 1}, "no_host_key_check"),
        ({"ignore_hostkey_verification": "on"}, "ignore_hostkey_verification"),
        ({"look_for_keys": "no"}, "look_for_keys"),
        ({"compress": 0}, "compress"),
        ({"key_file": 5}, "key_file"),
        ({"private_key": ["secret text"]}, "private_key"),
        ({"known_hosts": "None"}, "known_hosts"),
        ({"known_hosts": "/no/such/file"}, "known_hosts"),
        ({"conn_timeout": "soon"}, "conn_timeout"),
        ({"conn_timeout": 0}, "conn_timeout"),
        ({"conn_timeout": True}, "conn_timeout"),
        ({"conn_timeout": [5]}, "conn_timeout"),
        ({"conn_timeout": "inf"}, "conn_timeout"),
        ({"pool_size": 0}, "pool_size"),
        ({"pool_size": "two"}, "pool_size"),
        ({"pool_size": True}, "pool_size"),
        ({"max_concurrency": 1.5}, "max_concurrency"),
        ({"max_concurrency": "-1"}, "max_concurrency"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_requests": "many"}, "max_requests"),
    ],
)
def test_an_unusable_extra_is_refused_by_name(extras: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidConnection) as raised:
        read(extras=extras)

    assert "'my_conn'" in str(raised.value)
    assert field in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("host", [None, "", "  "])
def test_a_missing_host_is_refused(host: str | None) -> None:
    with pytest.raises(InvalidConnection, match="'my_conn': host is missing"):
        read(host)


@pytest.mark.parametrize("port", [-1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(InvalidConnection, match="port must be between 1 and 65535"):
        read(port=port)


def test_a_missing_known_hosts_file_does_not_matter_when_it_is_not_needed() -> None:
    assert read(extras={"known_hosts": "/no/such/file", "no_host_key_check": True}).check_host_key is False
    assert read(extras={"known_hosts": "/no/such/file", "host_key": "ssh-rsa AAAA"}).host_key == "ssh-rsa AAAA"


def test_an_airflow_connection_is_read() -> None:
    connection = Connection(
        conn_id="partner",
        conn_type="sftp",
        host="sftp.example.com",
        login="alice",
        password="right",
        extra=json.dumps({"no_host_key_check": "true", "pool_size": 4}),
    )

    assert read_settings(connection, connection.conn_id) == SFTPSettings(
        conn_id="partner",
        host="sftp.example.com",
        login="alice",
        password="right",
        check_host_key=False,
        pool_size=4,
    )


def test_secrets_do_not_show() -> None:
    settings = read(
        login="alice", password="PW", extras={"private_key": "KEY TEXT", "private_key_passphrase": "PHRASE"}
    )

    for secret in ("PW", "KEY TEXT", "PHRASE"):
        assert secret not in repr(settings)
    assert dataclasses.asdict(settings)["password"] == "PW"
