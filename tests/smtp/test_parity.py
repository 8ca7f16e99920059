# SPDX-License-Identifier: Apache-2.0
"""A Connection means to AsyncSMTPHook what it means to Airflow's SmtpHook: both do the same with a server."""

from __future__ import annotations

import inspect
import json
import smtplib
import ssl
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_async.smtp.connection import read_options

pytest.importorskip("airflow.providers.smtp", reason="Airflow's own SMTP provider is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of the provider

CASES: dict[str, dict[str, Any]] = {
    # SmtpHook asks for STARTTLS inside of TLS unless that is switched off, which no server offers.
    "TLS": {"extra": {"disable_tls": True}},
    "STARTTLS": {"extra": {"disable_ssl": True}},
    "in the clear": {"extra": {"disable_ssl": True, "disable_tls": True}},
    "a port": {"port": 2525, "extra": {"disable_ssl": True}},
    "a login": {"login": "alice", "password": "sesame", "extra": {"disable_tls": True}},
    "half a login": {"login": "alice", "extra": {"disable_tls": True}},
    "the other half": {"password": "sesame", "extra": {"disable_tls": True}},
    "a token": {"login": "alice", "extra": {"disable_tls": True, "auth_type": "oauth2", "access_token": "t"}},
    "a token of a sender": {
        "extra": {"disable_tls": True, "auth_type": "oauth2", "access_token": "t", "from_email": "me@x.example"}
    },
    "a time-out": {"extra": {"disable_tls": True, "timeout": 7, "retry_limit": 2}},
    "no check": {"extra": {"disable_tls": True, "ssl_context": "none"}},
    "no check after STARTTLS": {"extra": {"disable_ssl": True, "ssl_context": "none"}},
    "a usual check": {"extra": {"disable_tls": True, "ssl_context": "default"}},
    "what messages are made of": {
        "extra": {
            "disable_tls": True,
            "from_email": "me@x.example",
            "subject_template": "/s",
            "html_content_template": "/h",
        }
    },
}


class Recorder:
    """Stands for smtplib, and notes what it is told to do."""

    done: dict[str, object]

    def __init__(self, host: str = "", port: int = 0, timeout: float = 0, context: object = "default") -> None:
        Recorder.done = {"host": host, "port": port or self.default_port, "timeout": timeout}
        self.note("tls" if self.default_port == smtplib.SMTP_SSL_PORT else "none", context)

    default_port = smtplib.SMTP_PORT

    def note(self, encryption: str, context: Any) -> None:  # noqa: ANN401 - as above
        Recorder.done["encryption"] = encryption
        # None is a context without a check to smtplib.
        Recorder.done["checks"] = None if encryption == "none" else isinstance(context, ssl.SSLContext)

    def starttls(self, context: Any = None) -> None:  # noqa: ANN401 - as above
        self.note("starttls", context)

    def ehlo(self) -> None: ...

    def login(self, user: str, password: str) -> None:
        Recorder.done["login"] = (user, password)

    def auth(self, mechanism: str, make: Any) -> None:  # noqa: ANN401 - as above
        Recorder.done["login"] = (mechanism, make())

    def close(self) -> None: ...


class TLSRecorder(Recorder):
    default_port = smtplib.SMTP_SSL_PORT


@pytest.mark.parametrize("case", CASES)
def test_both_do_the_same(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    if not hasattr(SmtpHook, "_build_ssl_context"):
        pytest.skip("this SmtpHook checks no certificate after STARTTLS, and takes no token of the Connection")
    fields = dict(CASES[case])
    extra = json.dumps(fields.pop("extra"))
    connection = Connection(conn_id="parity", conn_type="smtp", host="mail.example", extra=extra, **fields)
    given = {"conn_type": "smtp", "host": "mail.example", "extra": extra, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_PARITY", json.dumps(given))
    monkeypatch.setattr(smtplib, "SMTP", Recorder)
    monkeypatch.setattr(smtplib, "SMTP_SSL", TLSRecorder)
    hook = SmtpHook("parity").get_conn()
    expected = {
        "login": None,
        **Recorder.done,
        "retries": hook.smtp_retry_limit,
        "from": hook.from_email,
        "subject": hook.subject_template,
        "html": hook.html_content_template,
    }

    ours = read_options(connection, "parity")
    tls = ours.tls()
    login: object = None if ours.login is None else (ours.login, ours.password)
    if ours.login_method == "xoauth2":
        login = ("XOAUTH2", f"user={ours.login}\x01auth=Bearer {ours.access_token}\x01\x01")
    assert expected == {
        "host": ours.host,
        "port": ours.port,
        "timeout": ours.connect_seconds,
        "encryption": ours.encryption,
        "checks": None if tls is None else tls.verify_mode == ssl.CERT_REQUIRED,
        "login": login,
        "retries": ours.retry_limit,
        "from": ours.from_email,
        "subject": ours.subject_template,
        "html": ours.html_content_template,
    }


def test_every_extra_that_their_form_has_is_read_here() -> None:
    from airflow.providers.smtp.get_provider_info import get_provider_info

    from airflow_provider_async.smtp import connection

    (kind,) = get_provider_info()["connection-types"]  # type: ignore[no-untyped-call]
    source = inspect.getsource(connection)
    names = kind.get("conn-fields", ())
    assert [name for name in names if f'"{name}"' not in source] == []


def test_false_is_false_also_as_a_text() -> None:
    """SmtpHook takes every text for true."""
    extra = json.dumps({"disable_tls": "false", "disable_ssl": "true"})
    connection = Connection(conn_id="x", conn_type="smtp", host="mail.example", extra=extra)
    assert read_options(connection, "x").encryption == "starttls"
