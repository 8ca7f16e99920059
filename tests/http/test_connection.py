# SPDX-License-Identifier: Apache-2.0
"""Reading the fields and extras of a Connection; no server is needed for that."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.limits import ServerLimits
from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.http.connection import read_options
from airflow_provider_async.http.options import HTTPOptions
from tests.http.conftest import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read(
    host: str | None = "example.com",
    *,
    extras: Mapping[str, object] | None = None,
    **fields: Any,  # noqa: ANN401 - of several types
) -> HTTPOptions:
    return read_options(Fields(host, extra_dejson=extras or {}, **fields), "my_conn")


def test_a_bare_host_is_enough_and_everything_else_has_a_default() -> None:
    assert read() == HTTPOptions(
        conn_id="my_conn",
        base_url="http://example.com",
        headers={},
        login=None,
        password=None,
        connect_seconds=60.0,
        read_seconds=60.0,
        total_seconds=300.0,
        verify=True,
        certificate=None,
        proxies={},
        trust_env=True,
        follows_redirects=True,
        max_redirects=10,
        checks_status=True,
        max_concurrency=16,
        rate=None,
    )
    assert read(None).base_url is None


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "example.com", "schema": "https"}, "https://example.com"),
        ({"host": "example.com", "schema": "HTTPS", "port": 8443}, "https://example.com:8443"),
        ({"host": "https://example.com"}, "https://example.com"),
        ({"host": "https://example.com", "schema": "http"}, "https://example.com"),
        ({"host": "https://example.com/api/v1/"}, "https://example.com/api/v1/"),
        ({"host": "https://example.com/api", "port": 8080}, "https://example.com:8080/api"),
        ({"host": "example.com:99/x"}, "http://example.com:99/x"),
        ({"host": "[::1]", "port": 80}, "http://[::1]:80"),
        ({"host": "example.com", "port": 0}, "http://example.com"),
    ],
)
def test_the_base_url_is_made_of_host_schema_and_port(fields: dict[str, Any], url: str) -> None:
    assert read(**fields).base_url == url


def test_a_login_in_the_url_counts_if_there_is_no_other() -> None:
    options = read("https://me:p%40ss@example.com/x")
    assert (options.base_url, options.login, options.password) == ("https://example.com/x", "me", "p@ss")
    assert "p@ss" not in repr(options)
    options = read("https://me:pass@example.com", login="you", password="word")
    assert (options.login, options.password) == ("you", "word")


def test_extras_that_are_no_options_are_headers() -> None:
    options = read(
        extras={
            "Authorization": "Bearer secret",
            "X-A": "1",
            "X-None": None,
            "timeout": "5",
            "verify": False,
            "cert": ["/c", "/k"],
            "proxies": {"https": "http://proxy:3128", "http": None},
            "trust_env": "false",
            "allow_redirects": False,
            "max_redirects": 3,
            "check_response": "false",
            "stream": True,
            "srv_lookup": None,
            "max_concurrency": "4",
            "max_connections": 8,
            "max_requests": "9",
            "rate": [100, 60],
        }
    )
    assert options == HTTPOptions(
        conn_id="my_conn",
        base_url="http://example.com",
        headers={"Authorization": "Bearer secret", "X-A": "1"},
        connect_seconds=5.0,
        read_seconds=5.0,
        verify=False,
        certificate=("/c", "/k"),
        proxies={"https": "http://proxy:3128"},
        trust_env=False,
        follows_redirects=False,
        max_redirects=3,
        checks_status=False,
        max_concurrency=4,
        rate=(100.0, 60.0),
        limits=ServerLimits(max_connections=8, max_requests=9, rate=(100.0, 60.0)),
    )
    assert "secret" not in repr(options)


def test_other_forms_of_options_are_read() -> None:
    assert read(extras={"verify": "/ca.pem"}).verify == "/ca.pem"
    assert read(extras={"verify_ssl": "False"}).verify is False
    assert read(extras={"verify": True, "verify_ssl": False}).verify is True
    assert read(extras={"cert": "/both.pem"}).certificate == ("/both.pem", None)
    assert read(extras={"proxy": "http://proxy"}).proxies == {"all": "http://proxy"}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"host": "ftp://example.com"}, "host must be a URL of http or https, not 'ftp'"),
        ({"host": "example.com", "schema": "grpc"}, "schema must be http or https, not 'grpc'"),
        ({"host": "https://"}, "host has no name of a server"),
        ({"host": "my host"}, "host has no name of a server"),
        ({"host": "http://[::1"}, "host is no URL"),
        ({"host": "http://h:x"}, "host is no URL"),
        ({"host": "https://example.com/?a=1"}, "host has a query or a fragment"),
        ({"host": "h", "port": 70000}, "port must be between 1 and 65535, not 70000"),
        ({"extras": {"srv_lookup": True}}, "extra srv_lookup is not supported"),
        ({"extras": {"X A": "1"}}, "extra 'X A' is no option, and cannot be the name of a header"),
        ({"extras": {"X-A": 1}}, "extra X-A is a header, which must be a text, not of type int"),
        ({"extras": {"X-A": "a\r\nB: secret"}}, "extra X-A is a header, which cannot have line breaks"),
        ({"extras": {"cert": 5}}, "extra cert must be a file"),
        ({"extras": {"cert": ["a", "b", "c"]}}, "extra cert must be a file"),
        ({"extras": {"proxy": "socks5://me:secret@h"}}, "extra proxy must give an http:// URL for 'all'"),
        ({"extras": {"proxies": ["x"]}}, "extra proxies must be an object"),
        ({"extras": {"timeout": 0}}, "extra timeout must be a number of seconds above zero"),
        ({"extras": {"max_concurrency": 0}}, "extra max_concurrency must be a whole number"),
        ({"extras": {"rate": "fast"}}, "extra rate must be a number above zero"),
    ],
)
def test_an_unusable_field_is_refused_by_name(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidConnection) as caught:
        read(**fields)
    assert str(caught.value).startswith(f"Connection 'my_conn': {sentence}")
    assert "secret" not in str(caught.value)


def test_tls_is_aiohttps_own_unless_files_are_given(tmp_path: Path) -> None:
    assert read().tls() is True
    assert read(extras={"verify": False}).tls() is False
    folder = read(extras={"verify": str(tmp_path)}).tls()
    assert isinstance(folder, ssl.SSLContext)
    assert folder.verify_mode is ssl.CERT_REQUIRED
    with pytest.raises(FileNotFoundError):
        read(extras={"verify": str(tmp_path / "missing.pem")}).tls()
    with pytest.raises(FileNotFoundError):
        read(extras={"verify": False, "cert": str(tmp_path / "missing.pem")}).tls()
