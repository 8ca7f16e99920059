# SPDX-License-Identifier: Apache-2.0
"""
What an Airflow ``smtp`` Connection says, checked field by field.

The fields mean what they mean to Airflow's own ``SmtpHook``, so that an existing Connection works unchanged. Where that
hook does not do what its documentation says, a comment says what was chosen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from airflow_provider_async.runtime.extras import Extras, invalid
from airflow_provider_async.smtp.options import (
    DEFAULT_CONTENT_SECONDS,
    DEFAULT_RETRY_LIMIT,
    DEFAULT_SECONDS,
    PRESETS,
    Encryption,
    Limits,
    LoginMethod,
    SMTPOptions,
)

if TYPE_CHECKING:
    from airflow_provider_async.runtime.hooks import ConnectionFields

__all__ = ["limits_of", "read_options"]

MAX_PORT = 65535

SMTP_PORT = 25
SMTPS_PORT = 465


def read_options(connection: ConnectionFields, conn_id: str) -> SMTPOptions:
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
    encryption = _encryption(extras)
    # As for SmtpHook when it does not use async: 465 is smtplib's for TLS, 25 its other one. aiosmtplib has 587 for
    # STARTTLS, but that is where SmtpHook's async half never gets to.
    port = connection.port or (SMTPS_PORT if encryption == "tls" else SMTP_PORT)
    if not 0 < port <= MAX_PORT:
        raise invalid(conn_id, "port", f"must be between 1 and {MAX_PORT}, not {port}")
    # To SmtpHook a time-out is for each step, connecting included; nothing is said there of the final dot.
    seconds = extras.seconds("timeout") or DEFAULT_SECONDS
    login, password = connection.login or None, connection.password or None
    method = _login_method(extras)
    if method != "xoauth2" and not (login and password):
        # SmtpHook logs in only with both.
        login = password = method = None
    if method == "xoauth2":
        login = login or extras.text("from_email")
        if login is None:
            raise invalid(conn_id, "login", "is missing: XOAUTH2 needs it, or extra from_email")
    return SMTPOptions(
        conn_id=conn_id,
        host=host,
        port=port,
        encryption=encryption,
        login=login,
        password=password,
        login_method=method,
        access_token=extras.text("access_token"),
        client_id=extras.text("client_id"),
        client_secret=extras.text("client_secret"),
        tenant_id=extras.text("tenant_id") or SMTPOptions.tenant_id,
        scope=extras.text("scope") or SMTPOptions.scope,
        verify=_verify(extras),
        certificate=_certificate(extras),
        local_hostname=extras.text("local_hostname"),
        connect_seconds=seconds,
        command_seconds=seconds,
        content_seconds=extras.seconds("content_timeout") or max(seconds, DEFAULT_CONTENT_SECONDS),
        retry_limit=_retry_limit(extras),
        limits=limits_of(extras),
        chunking_window=extras.count("chunking_window") or 0,
        from_email=extras.text("from_email"),
        subject_template=extras.text("subject_template"),
        html_content_template=extras.text("html_content_template"),
    )


def limits_of(extras: Extras) -> Limits:
    """
    Read how much the server takes: of a preset, with what the other extras say on top.

    :raises InvalidConnection: if an extra cannot be used.
    """
    limits = Limits()
    if (name := extras.text("preset")) is not None:
        if name not in PRESETS:
            raise extras.invalid("preset", f"must be one of {', '.join(PRESETS)}, not {name!r}")
        limits = PRESETS[name]
    given: dict[str, Any] = {
        "pool_size": extras.count("pool_size"),
        "messages_per_connection": extras.count("messages_per_connection"),
        "rate": extras.rate("rate"),
        "recipients_per_day": extras.count("recipients_per_day"),
        "recipients_per_envelope": extras.count("recipients_per_envelope"),
        "max_connections": extras.count("max_connections"),
    }
    return replace(limits, **{name: value for name, value in given.items() if value is not None})


def _encryption(extras: Extras) -> Encryption:
    # SmtpHook takes any text for true, "false" included. Without async, it asks for STARTTLS inside of TLS too unless
    # disable_tls is set, which no server offers.
    without_tls, without_starttls = extras.boolean("disable_ssl") is True, extras.boolean("disable_tls") is True
    if not without_tls:
        return "tls"
    return "none" if without_starttls else "starttls"


def _login_method(extras: Extras) -> LoginMethod | None:
    kind = (extras.text("auth_type") or "basic").lower()
    if kind not in ("basic", "oauth2"):
        raise extras.invalid("auth_type", f"must be basic or oauth2, not {kind!r}")
    if kind == "oauth2":
        return "xoauth2"
    method = extras.text("auth_method")
    if method is None:
        return None
    for known in get_args(LoginMethod):
        if method.lower() == known:
            return known  # type: ignore[no-any-return]
    raise extras.invalid("auth_method", f"must be one of {', '.join(get_args(LoginMethod))}, not {method!r}")


def _verify(extras: Extras) -> bool | str:
    context = extras.text("ssl_context") or "default"
    if context not in ("default", "none"):
        raise extras.invalid("ssl_context", f"must be default or none, not {context!r}")
    value = extras.get("verify")
    if isinstance(value, str) and value.strip() and value.lower() not in ("true", "false"):
        verify: bool | str = value.strip()
    else:
        verify = extras.boolean("verify") is not False
    if context == "none":
        if value is not None and verify is not False:
            raise extras.invalid("ssl_context", "is none, which contradicts extra verify; give one of them")
        return False
    return verify


def _certificate(extras: Extras) -> tuple[str, str | None] | None:
    value = extras.get("cert")
    if not value:
        return None
    files = [value] if isinstance(value, str) else value
    if isinstance(files, list) and all(isinstance(file, str) for file in files) and len(files) in (1, 2):
        return files[0], files[1] if len(files) > 1 else None
    raise extras.invalid("cert", "must be a file, or a list of the files of a certificate and of its key")


def _retry_limit(extras: Extras) -> int:
    value = extras.get("retry_limit")
    if value in (0, "0"):
        return 0
    return extras.count("retry_limit") or DEFAULT_RETRY_LIMIT
