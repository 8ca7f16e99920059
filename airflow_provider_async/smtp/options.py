# SPDX-License-Identifier: Apache-2.0
"""What an SMTP client is told: the options of a Connection and of a pool."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from airflow_provider_async.core.limits import ServerLimits, share_of
from airflow_provider_async.runtime.extras import invalid

if TYPE_CHECKING:
    from airflow_provider_async.core.shards import Shard
    from airflow_provider_async.core.values import Rate

__all__ = ["PRESETS", "Encryption", "Limits", "LoginMethod", "SMTPOptions"]

#: ``tls`` from the first byte on, ``starttls`` after a greeting in the clear, or neither.
Encryption: TypeAlias = Literal["tls", "starttls", "none"]

LoginMethod: TypeAlias = Literal["plain", "login", "cram-md5", "xoauth2"]

DEFAULT_POOL_SIZE = 4
DEFAULT_MESSAGES_PER_CONNECTION = 100

#: SmtpHook's.
DEFAULT_SECONDS = 30.0
DEFAULT_RETRY_LIMIT = 5

#: RFC 5321, section 4.5.3.2.6: a server may think about a mail for so long.
DEFAULT_CONTENT_SECONDS = 600.0

#: RFC 5321, section 4.5.3.1.8: every server takes so many.
DEFAULT_RECIPIENTS_PER_ENVELOPE = 100


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    How much a server takes.

    :param pool_size: connections at once.
    :param messages_per_connection: mails after which a connection is replaced.
    :param rate: how many mails may begin in a time; evenly spread over it.
    :param recipients_per_day: how many recipients there may be in any 24 hours that a pool is open.
    :param recipients_per_envelope: a mail to more goes in several envelopes.
    :param max_connections: connections at once of all tasks together.
    """

    pool_size: int = DEFAULT_POOL_SIZE
    messages_per_connection: int = DEFAULT_MESSAGES_PER_CONNECTION
    rate: Rate | None = None
    recipients_per_day: int | None = None
    recipients_per_envelope: int = DEFAULT_RECIPIENTS_PER_ENVELOPE
    max_connections: int | None = None

    def share(self, shard: Shard[Any] | None, conn_id: str) -> Self:
        """
        Return the part that belongs to one of the tasks which share some work, and no more connections than there are.

        :param shard: the task's part of the work; ``None`` if it has all of it.
        :param conn_id: what the error calls the Connection.
        :raises InvalidConnection: if there is less than one connection, or recipient, for each shard.
        """
        of_all = ServerLimits(max_connections=self.max_connections, rate=self.rate).share(shard, conn_id)
        per_day = self.recipients_per_day
        return replace(
            self,
            pool_size=of_all.connections(self.pool_size),
            rate=of_all.rate,
            recipients_per_day=per_day if shard is None else share_of("recipients_per_day", per_day, shard, conn_id),
        )


#: The published limits of those whose limits are published: Exchange Online's "sending limits" (three connections, 30
#: messages a minute, 10,000 recipients a day), Gmail's and Google Workspace's (500 and 2,000 a day, 100 recipients a
#: message by SMTP).
PRESETS: dict[str, Limits] = {
    "exchange_online": Limits(pool_size=3, max_connections=3, rate=(30, 60), recipients_per_day=10_000),
    "gmail": Limits(recipients_per_day=500),
    "google_workspace": Limits(recipients_per_day=2_000),
}


@dataclass(frozen=True, kw_only=True)
class SMTPOptions:
    """
    A Connection, read and checked, with what a pool was given on top.

    :param conn_id: what errors call the Connection.
    :param host: the server's name or address.
    :param port: the server's port.
    :param encryption: how the connection is encrypted; ``starttls`` means that there is no mail without it.
    :param login: the user's name.
    :param password: the user's password.
    :param login_method: how it is logged in; ``None`` for those that the server offers, or not at all without a login.
    :param access_token: for XOAUTH2.
    :param client_id: of an application that gets tokens from Microsoft, like the three that follow.
    :param client_secret: its secret.
    :param tenant_id: whose application it is.
    :param scope: what the tokens are for.
    :param verify: whether the server has to prove who it is, or the file or folder of certificates to check that with.
    :param certificate: files of the client's certificate and of its key, which may be in the first too.
    :param local_hostname: what the client calls itself; ``None`` for this machine's name.
    :param connect_seconds: how long reaching the server and logging in may take.
    :param command_seconds: how long the server may take to answer a command.
    :param content_seconds: how long it may take to answer when it has the whole mail.
    :param retry_limit: how often a mail is sent again.
    :param limits: how much the server takes.
    :param chunking_window: how many mails may wait for their answer at once if the server offers CHUNKING; 0 for not to
        use that.
    :param from_email: the sender of messages that have none.
    :param subject_template: a file with the subject of messages that have none.
    :param html_content_template: a file with the body of messages that have none.
    """

    conn_id: str
    host: str
    port: int
    encryption: Encryption = "tls"
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    login_method: LoginMethod | None = None
    access_token: str | None = field(default=None, repr=False)
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    tenant_id: str = "common"
    scope: str = "https://outlook.office.com/.default"
    verify: bool | str = True
    certificate: tuple[str, str | None] | None = None
    local_hostname: str | None = None
    connect_seconds: float = DEFAULT_SECONDS
    command_seconds: float = DEFAULT_SECONDS
    content_seconds: float = DEFAULT_CONTENT_SECONDS
    retry_limit: int = DEFAULT_RETRY_LIMIT
    limits: Limits = field(default_factory=Limits)
    chunking_window: int = 0
    from_email: str | None = None
    subject_template: str | None = None
    html_content_template: str | None = None

    def tls(self) -> ssl.SSLContext | None:
        """
        Return what TLS connections are made with; files are read here. ``None`` without encryption.

        :raises InvalidConnection: if a file cannot be used.
        """
        if self.encryption == "none":
            return None
        try:
            return self._tls()
        except OSError as error:
            files = [file for file in (self.verify, *(self.certificate or ())) if isinstance(file, str)]
            problem = f"names a file that cannot be used: {error.strerror or error}: {', '.join(files)}"
            raise invalid(self.conn_id, "extra verify or cert", problem) from error

    def _tls(self) -> ssl.SSLContext:
        file, folder = None, None
        if isinstance(self.verify, str):
            file, folder = (None, self.verify) if Path(self.verify).is_dir() else (self.verify, None)
        context = ssl.create_default_context(cafile=file, capath=folder)
        if self.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        return context
