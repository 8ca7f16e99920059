# SPDX-License-Identifier: Apache-2.0
"""What asyncssh is told to log in with. Keys are loaded here, so that a bad one is refused before any login."""

from __future__ import annotations

import base64
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
from asyncssh.public_key import get_default_certificate_algs, get_default_public_key_algs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_provider_async.sftp.connection import SFTPSettings

__all__ = ["connect_options"]

#: An idle connection is kept open through firewalls, and a dead one is noticed after three unanswered requests.
#: SFTPHook sends one as often.
_KEEPALIVE_SECONDS = 30.0

_PREFERRED_CIPHERS = frozenset({"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"})

_ASYNCSSH_NAMES = {
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "kex": "kex_algs",
    "keys": "server_host_key_algs",
    "pubkeys": "signature_algs",
    "compression": "compression_algs",
}


def connect_options(settings: SFTPSettings) -> asyncssh.SSHClientConnectionOptions:
    """
    Return what ``asyncssh.connect`` is given beside host and port.

    What the Connection does not say is read from ``~/.ssh/config``, as by the Airflow hooks.

    :param settings: the Connection.
    :raises InvalidConnection: naming a field with a key that cannot be used.
    """
    options = asyncssh.SSHClientConnectionOptions(
        # An empty tuple is ~/.ssh/config; host and port choose its sections.
        config=(),
        host=settings.host,
        port=settings.port,
        # To asyncssh an empty tuple is "not given", and None is "none".
        username=() if settings.login is None else settings.login,
        password=settings.password,
        client_keys=_client_keys(settings),
        known_hosts=_known_hosts(settings),
        connect_timeout=settings.connect_seconds,
        keepalive_interval=_KEEPALIVE_SECONDS,
        compression_algs=["zlib@openssh.com", "none"] if settings.compress else (),
    )
    return asyncssh.SSHClientConnectionOptions(options, **_algorithms(settings, options))


def _algorithms(settings: SFTPSettings, options: asyncssh.SSHClientConnectionOptions) -> dict[str, list[str]]:
    """
    Return the algorithms to be offered, by asyncssh's names for their kinds.

    AES-GCM comes first: processors have instructions for it, and it costs half of what ChaCha20 does.
    """
    ciphers = sorted(_names(options.encryption_algs), key=lambda name: name not in _PREFERRED_CIPHERS)
    chosen: dict[str, list[str]] = {"ciphers": ciphers}
    if settings.ciphers is not None:
        possible = _names(asyncssh.SSHClientConnectionOptions(options, encryption_algs="*").encryption_algs)
        chosen["ciphers"] = [name for name in settings.ciphers if name in possible]
        if not chosen["ciphers"]:
            raise settings.invalid("extra ciphers", f"names none that can be used: {', '.join(possible)}")
    for kind, disabled in settings.disabled_algorithms.items():
        usual = chosen.get(kind) or _usual_algorithms(kind, options)
        chosen[kind] = [name for name in usual if name not in disabled]
        if not chosen[kind]:
            raise settings.invalid("extra disabled_algorithms", f"leaves no {kind}")
    return {_ASYNCSSH_NAMES[kind]: names for kind, names in chosen.items()}


def _usual_algorithms(kind: str, options: asyncssh.SSHClientConnectionOptions) -> list[str]:
    if kind == "keys":
        # Left out, which is usual, they follow from the keys in known_hosts.
        return _names([*get_default_certificate_algs(), *get_default_public_key_algs()])
    return _names(getattr(options, _ASYNCSSH_NAMES[kind]))


def _names(algorithms: Iterable[bytes]) -> list[str]:
    return [name.decode("ascii") for name in algorithms]


def _known_hosts(settings: SFTPSettings) -> object:
    if not settings.check_host_key:
        return None
    if settings.host_key is not None:
        # A key instead of a known_hosts line: the server may then go by any name, and listen on any port.
        return ([_host_key(settings, settings.host_key)], [], [])
    # Always given: left out, "UserKnownHostsFile none" in ~/.ssh/config would mean "no check" to asyncssh, whereas to
    # OpenSSH it means that no host is known.
    if settings.known_hosts is not None:
        return str(settings.known_hosts)
    usual = Path("~/.ssh/known_hosts").expanduser()
    return str(usual) if usual.is_file() else b""


def _host_key(settings: SFTPSettings, text: str) -> asyncssh.SSHKey:
    parts = text.split()
    try:
        # The hooks take a key without its type for an RSA key. The type also stands in the key itself.
        algorithm, data = parts[:2] if len(parts) > 1 else (_algorithm_in(parts[0]), parts[0])
        key = asyncssh.import_public_key(f"{algorithm} {data}")
    except (ValueError, struct.error) as error:
        problem = "is not a public key such as 'ssh-ed25519 AAAAC3Nza...', without the host's name"
        raise settings.invalid("extra host_key", problem) from error
    if key.get_algorithm() == "ssh-dss":
        raise settings.invalid("extra host_key", "is a DSA key, which is too weak to be accepted; use another one")
    return key


def _algorithm_in(data: str) -> str:
    """Return the name that a public key's data begin with (RFC 4253, section 6.6)."""
    decoded = base64.b64decode(data, validate=True)
    (length,) = struct.unpack_from(">I", decoded)
    return decoded[4 : 4 + length].decode("ascii")


def _client_keys(settings: SFTPSettings) -> Sequence[object] | None:
    """Load the private key, and the certificate that lies beside a key file."""
    source: str | bytes
    if settings.private_key is not None:
        field, source, passphrase = "extra private_key", settings.private_key.encode(), settings.passphrase
    elif settings.key_file is not None:
        # SFTPHook (paramiko) tries a key file that has no passphrase of its own with the password, and so do we.
        field, source, passphrase = "extra key_file", str(settings.key_file), settings.passphrase or settings.password
    else:
        # With None, asyncssh asks no agent either, which is more than SFTPHook does without look_for_keys.
        return () if settings.look_for_keys else None
    try:
        return asyncssh.load_keypairs(source, passphrase)
    except OSError as error:
        raise settings.invalid(field, f"names {source!r}, which cannot be read: {error.strerror}") from error
    except asyncssh.KeyEncryptionError as error:
        raise settings.invalid("extra private_key_passphrase", f"does not open {field}: {error}") from error
    except asyncssh.KeyImportError as error:
        raise settings.invalid(field, f"cannot be used: {error}") from error
