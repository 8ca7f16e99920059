# SPDX-License-Identifier: Apache-2.0
"""What is around a value in a store, to tell whether it is ours and whole."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON

__all__ = ["Unusable", "seal", "unseal"]

_VERSION = 1


class Unusable(Exception):
    """What is in the store is not ours; the message says why."""


def seal(content: dict[str, JSON], owner: str) -> str:
    """
    Return a value as it is kept.

    :param content: the value.
    :param owner: what it belongs to.
    """
    about: dict[str, JSON] = {"version": _VERSION, "of": owner, "sum": _checksum(content)}
    return json.dumps({**about, "content": content}, separators=(",", ":"))


def unseal(text: str, owner: str) -> dict[str, JSON]:
    """
    Return a value that was kept.

    :param text: what is in the store.
    :param owner: what it has to belong to.
    :raises Unusable: if it is torn, of another version or belongs to something else.
    """
    try:
        outer = json.loads(text)
        version, found, checksum, content = (outer[name] for name in ("version", "of", "sum", "content"))
    except (ValueError, TypeError, KeyError) as error:
        raise Unusable("it is torn") from error
    if version != _VERSION:
        raise Unusable(f"it was written by another version, {version}")
    if found != owner:
        raise Unusable("it belongs to something else")
    if checksum != _checksum(content) or not isinstance(content, dict):
        raise Unusable("it is torn")
    return content


def _checksum(content: JSON) -> str:
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
