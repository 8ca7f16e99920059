# SPDX-License-Identifier: Apache-2.0
"""What a Connection says, field by field."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.smtp.connection import read_options
from airflow_provider_async.smtp.options import PRESETS, SMTPOptions
from tests.servers.postfix import certificate
from tests.servers.smtp import Fields

if TYPE_CHECKING:
    from pathlib import Path


def options(host: str | None = "mail.example", **fields: Any) -> SMTPOptions:  # noqa: ANN401 - of a Connection
    extras = fields.pop("extras", {})
    return read_options(Fields(host=host, extra_dejson=extras, **fields), "mail")


def test_a_host_alone_is_enough() -> None:
    assert options() == SMTPOptions(conn_id="mail", host="mail.example", port=465)


@pytest.mark.parametrize(
    ("extras", "encryption", "port"),
    [
        ({}, "tls", 465),
        ({"disable_tls": True}, "tls", 465),
        ({"disable_ssl": True}, "starttls", 25),
        ({"disable_ssl": "true", "disable_tls": "false"}, "starttls", 25),
        ({"disable_ssl": True, "disable_tls": True}, "none", 25),
        ({"disable_ssl": False, "disable_tls": False}, "tls", 465),
    ],
)
def test_encryption_is_left_out_only_on_demand(extras: dict[str, object], encryption: str, port: int) -> None:
    read = options(extras=extras)
    assert (read.encryption, read.port) == (encryption, port)
    assert options(extras=extras, port=587).port == 587


@pytest.mark.parametrize(
    ("login", "password", "known"), [("a", "b", True), ("a", None, False), (None, "b", False), ("", "", False)]
)
def test_a_login_needs_both_halves(login: str | None, password: str | None, known: bool) -> None:
    read = options(login=login, password=password, extras={"auth_method": "PLAIN"})
    assert (read.login, read.password, read.login_method) == (("a", "b", "plain") if known else (None, None, None))


def test_a_token_needs_a_user() -> None:
    extras = {"auth_type": "oauth2", "access_token": "t", "from_email": "me@mail.example"}
    read = options(extras=extras)
    assert (read.login, read.login_method, read.access_token) == ("me@mail.example", "xoauth2", "t")
    assert options(login="a", extras=extras).login == "a"
    with pytest.raises(InvalidConnection, match="login is missing: XOAUTH2 needs it"):
        options(extras={"auth_type": "oauth2"})


def test_every_other_extra_has_its_place() -> None:
    read = options(
        extras={
            "from_email": "me@mail.example",
            "timeout": "7",
            "retry_limit": 2,
            "subject_template": "s.txt",
            "html_content_template": "h.html",
            "client_id": "i",
            "client_secret": "c",
            "tenant_id": "t",
            "scope": "s",
            "ssl_context": "none",
            "local_hostname": "me.example",
            "content_timeout": 11,
            "chunking_window": 3,
            "cert": ["a.pem", "a.key"],
        }
    )
    assert read == SMTPOptions(
        conn_id="mail",
        host="mail.example",
        port=465,
        from_email="me@mail.example",
        connect_seconds=7.0,
        command_seconds=7.0,
        content_seconds=11.0,
        retry_limit=2,
        subject_template="s.txt",
        html_content_template="h.html",
        client_id="i",
        client_secret="c",
        tenant_id="t",
        scope="s",
        verify=False,
        local_hostname="me.example",
        chunking_window=3,
        certificate=("a.pem", "a.key"),
    )
    assert options(extras={"retry_limit": 0}).retry_limit == 0


def test_the_end_of_a_mail_has_ten_minutes_whatever_a_command_has() -> None:
    assert options(extras={"timeout": 5}).content_seconds == 600
    assert options(extras={"timeout": 900}).content_seconds == 900


def test_limits_come_from_a_preset_and_extras_win() -> None:
    assert options(extras={"preset": "exchange_online"}).limits == PRESETS["exchange_online"]
    extras = {"preset": "exchange_online", "pool_size": 2, "rate": [10, 60]}
    assert options(extras=extras).limits == replace(PRESETS["exchange_online"], pool_size=2, rate=(10.0, 60.0))


def test_secrets_do_not_show() -> None:
    extras = {"access_token": "hidden-1", "client_secret": "hidden-2"}
    assert "hidden" not in repr(options(login="a", password="hidden-3", extras=extras))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"host": " "}, "host is missing"),
        ({"port": 70_000}, "port must be between 1 and 65535, not 70000"),
        ({"extras": {"disable_tls": "yes"}}, "extra disable_tls must be true or false"),
        ({"extras": {"auth_type": "ntlm"}}, "extra auth_type must be basic or oauth2, not 'ntlm'"),
        ({"login": "a", "password": "b", "extras": {"auth_method": "x"}}, "extra auth_method must be one of plain, "),
        ({"extras": {"ssl_context": "old"}}, "extra ssl_context must be default or none, not 'old'"),
        ({"extras": {"ssl_context": "none", "verify": True}}, "extra ssl_context is none, which contradicts"),
        ({"extras": {"cert": {}, "preset": "x"}}, "extra preset must be one of exchange_online, "),
        ({"extras": {"cert": ["a", "b", "c"]}}, "extra cert must be a file, or a list"),
        ({"extras": {"retry_limit": -1}}, "extra retry_limit must be a whole number"),
        ({"extras": {"timeout": 0}}, "extra timeout must be a number of seconds above zero"),
    ],
)
def test_what_cannot_be_used_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidConnection, match="Connection 'mail': " + problem):
        options(**fields)


def test_certificates_are_checked_as_asked(tmp_path: Path) -> None:
    files = tuple(map(str, certificate(tmp_path)))
    assert options(extras={"disable_ssl": True, "disable_tls": True}).tls() is None
    usual = options(extras={"cert": [*files]}).tls()
    assert usual is not None
    assert (usual.verify_mode, usual.check_hostname) == (ssl.CERT_REQUIRED, True)
    unchecked = options(extras={"verify": False}).tls()
    assert unchecked is not None
    assert (unchecked.verify_mode, unchecked.check_hostname) == (ssl.CERT_NONE, False)
    own = options(extras={"verify": files[0]}).tls()
    assert own is not None
    assert [one["subject"] for one in own.get_ca_certs()] == [((("commonName", "127.0.0.1"),),)]
    assert options(extras={"verify": str(tmp_path)}).tls() is not None
    for extras in ({"verify": "missing.pem"}, {"cert": "missing.pem"}):
        with pytest.raises(
            InvalidConnection, match=r"extra verify or cert names a file that cannot be used: .*missing"
        ):
            options(extras=extras).tls()
