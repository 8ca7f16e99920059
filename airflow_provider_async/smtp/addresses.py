# SPDX-License-Identifier: Apache-2.0
"""Addresses of mail: read, checked, and written for an envelope and for a header."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.headerregistry import Address, HeaderRegistry
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias

from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.headers import Folded, check_text, encoded_words, is_plain, join_folded

__all__ = ["Addresses", "Mailbox", "format_mailboxes", "read_mailbox", "read_mailboxes"]

#: What stands for addresses: ``jane@example.com``, ``Jane Doe <jane@example.com>``, several of these with commas
#: between them, an ``email.headerregistry.Address``, or any number of these.
Addresses: TypeAlias = "str | Address | Iterable[str | Address]"

# RFC 5321, section 4.1.2, and RFC 6531, section 3.3, for what is beyond ASCII.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~\x80-\U0010ffff-]+"
_DOT_ATOM = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(r'"(?:[ !#-\[\]-~\x80-\U0010ffff]|\\[ -~])*"')
# Underscores are no part of a host's name, but there are mail servers whose names have them.
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_BARE = re.compile(r"[^\s,;:<>()\"\\\[\]@]+@[^\s,;:<>()\"\\\[\]@]+")
_NAMED = re.compile(r"([^,;:<>()\"\\\[\]@]*?)\s*<([^\s,;:<>()\"\\\[\]@]+@[^\s,;:<>()\"\\\[\]@]+)>\s*")
_QUOTED_NAME = re.compile(r'"((?:[^"\\]|\\.)*)"\s*<([^\s,;:<>()\"\\\[\]@]+@[^\s,;:<>()\"\\\[\]@]+)>')
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)

# RFC 5321, section 4.5.3.1.
_LONGEST_LOCAL_PART = 64
_LONGEST_DOMAIN = 255
_LONGEST_ADDRESS = 254

#: A longer name is encoded, so that it can be folded.
_LONGEST_QUOTED_NAME = 60

_header_factory = HeaderRegistry()


@dataclass(frozen=True, slots=True)
class Mailbox:
    """
    One address, and whose it is.

    :param name: as people read it; may be empty.
    :param address: as a server reads it: its domain is ASCII (RFC 5890); the local part is not, if only SMTPUTF8 can
        carry it.
    """

    name: str
    address: str

    @property
    def domain(self) -> str:
        """What is behind the last ``@``."""
        return self.address.rpartition("@")[2]

    def format(self, header: str) -> str:
        """
        Write it for a header (RFC 5322, section 3.4).

        :param header: its name, which the first line begins with.
        """
        if not self.name:
            return self.address
        if not is_plain(self.name) or len(self.name) > _LONGEST_QUOTED_NAME:
            return join_folded(header, [encoded_words(header, self.name), f"<{self.address}>"], separator="")
        if _ATOMS.fullmatch(self.name):
            return f"{self.name} <{self.address}>"
        quoted = re.sub(r'(["\\])', r"\\\1", self.name)
        return f'"{quoted}" <{self.address}>'


def read_mailboxes(value: Addresses | None, field: str) -> tuple[Mailbox, ...]:
    """
    Read addresses, each once.

    :param value: one or many; ``None`` is none.
    :param field: what errors call it, such as ``cc``.
    :raises InvalidMessage: naming the field and what is no address.
    """
    if value is None:
        return ()
    found: dict[str, Mailbox] = {}
    for one in (value,) if isinstance(value, (str, Address)) else _iterate(value, field):
        for mailbox in _read(one, field):
            found.setdefault(mailbox.address, mailbox)
    return tuple(found.values())


def read_mailbox(value: str | Address, field: str) -> Mailbox:
    """
    Read one address.

    :param value: the address.
    :param field: what errors call it, such as ``from_``.
    :raises InvalidMessage: if it is none, or several.
    """
    found = tuple(_read(value, field))
    if len(found) != 1:
        raise InvalidMessage(f"{field} must be one address, not {len(found)}: {value!r}")
    return found[0]


def format_mailboxes(header: str, mailboxes: Iterable[Mailbox]) -> Folded:
    """
    Write the value of a header that has addresses.

    :param header: its name.
    :param mailboxes: at least one.
    """
    return join_folded(header, [mailbox.format(header) for mailbox in mailboxes])


def _iterate(value: object, field: str) -> Iterable[object]:
    if not isinstance(value, Iterable) or isinstance(value, (bytes, dict)):
        raise InvalidMessage(f"{field} must be an address or a list of addresses, not of type {type(value).__name__}")
    return value


def _read(value: object, field: str) -> Iterable[Mailbox]:
    if isinstance(value, Address):
        return (_mailbox(value.display_name, value.addr_spec, field),)
    return _read_text(check_text(value, field).strip(), field)


# An author is that of many messages, and a recipient is read for the key and for the header.
@lru_cache(1024)
def _read_text(text: str, field: str) -> tuple[Mailbox, ...]:
    # What is usual is read a hundred times faster than by the parser of the standard library.
    if _BARE.fullmatch(text):
        return (_mailbox("", text, field),)
    if (named := _NAMED.fullmatch(text)) is not None and "=?" not in text:
        return (_mailbox(named[1], named[2], field),)
    if (named := _QUOTED_NAME.fullmatch(text)) is not None and "=?" not in text:
        return (_mailbox(re.sub(r"\\(.)", r"\1", named[1]), named[2], field),)
    return _parse(text, field)


def _parse(text: str, field: str) -> tuple[Mailbox, ...]:
    try:
        header: Any = _header_factory("To", text)
    except Exception as error:
        # Whatever that is: on some texts that are no addresses, the parser stumbles.
        raise InvalidMessage(f"{field} is no address: {text[:80]!r}") from error
    defects = [defect for defect in header.defects if "non-ASCII" not in str(defect)]
    is_grouped = any(group.display_name is not None for group in header.groups)
    # The parser leaves out what it cannot read: a space in a domain, say.
    is_mended = any(address.addr_spec not in text for address in header.addresses)
    if defects or is_grouped or is_mended or not header.addresses:
        raise InvalidMessage(f"{field} is no address, or no list of addresses with commas between them: {text[:80]!r}")
    return tuple(_mailbox(address.display_name, address.addr_spec, field) for address in header.addresses)


def _mailbox(name: str, address: str, field: str) -> Mailbox:
    check_text(name, f"the name in {field}")
    check_text(address, field)
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain:
        raise InvalidMessage(f"{field}: {address!r} is no address: it lacks what stands before or behind an @")
    is_atom = _DOT_ATOM.fullmatch(local) is not None and not any(map(str.isspace, local))
    if not is_atom and _QUOTED.fullmatch(local) is None:
        raise InvalidMessage(f"{field}: {address!r} is no address: {local!r} cannot stand before the @")
    made = f"{local}@{_domain(domain, address, field)}"
    if len(local.encode()) > _LONGEST_LOCAL_PART or len(made.encode()) > _LONGEST_ADDRESS:
        raise InvalidMessage(f"{field}: {address[:80]!r} is too long for an address")
    return Mailbox(name.strip(), made)


def _domain(domain: str, address: str, field: str) -> str:
    if domain.startswith("["):
        literal = domain[1:-1]
        try:
            if literal.startswith("IPv6:"):
                IPv6Address(literal.removeprefix("IPv6:"))
            else:
                IPv4Address(literal)
        except ValueError:
            literal = ""
        if literal and domain.endswith("]"):
            return domain
    elif domain.isascii():
        if len(domain) <= _LONGEST_DOMAIN and all(map(_LABEL.fullmatch, domain.split("."))):
            return domain
    else:
        import idna

        try:
            # As browsers do. The codec of the standard library is an older one, to which "faß.de" is "fass.de".
            return idna.encode(domain, uts46=True).decode()
        except idna.IDNAError as error:
            raise InvalidMessage(f"{field}: {address!r} is no address: {error}") from error
    raise InvalidMessage(f"{field}: {address!r} is no address: {domain!r} is no name of a domain")
