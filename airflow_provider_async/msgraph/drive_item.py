# SPDX-License-Identifier: Apache-2.0
"""Files in OneDrive and SharePoint: https://learn.microsoft.com/graph/api/resources/driveitem."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from airflow_provider_async.errors import InvalidBody
from airflow_provider_async.msgraph.quickxorhash import QuickXorHash

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.values import JSON

__all__ = ["DriveItem", "ItemSource", "content_url", "file_hash", "item_key", "item_of", "session_url", "url_of"]

_PORTION_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveItem:
    """
    A file in a drive.

    :param url: of the item, below the version.
    :param id: the item's id.
    :param name: the file's name.
    :param size: in bytes.
    :param tag: changes with the file's content.
    :param hashes: of the content, by Graph's names for them.
    :param download_url: where anybody may get the content, for some time.
    """

    url: str
    id: str
    name: str
    size: int
    tag: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    download_url: str | None = field(default=None, repr=False)


#: The URL of an item, such as ``drives/{id}/items/{id}`` or ``me/drive/root:/reports/may.csv``; or a row of a listing.
ItemSource: TypeAlias = "JSON | Mapping[str, object]"


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def item_of(row: Mapping[str, object], url: str | None = None) -> DriveItem:
    """
    Read what Graph says of a file.

    :param row: an item, alone or in a listing.
    :param url: of the item; by default that of its id in its drive.
    :raises InvalidBody: if it is no item.
    :raises IsADirectoryError: if it is a folder.
    """
    name, size, number = row.get("name"), row.get("size"), row.get("id")
    if not isinstance(name, str) or not isinstance(size, int) or not isinstance(number, str):
        raise InvalidBody(f"{url or 'a row'} is no item of a drive: it lacks an id, a name or a size")
    file = row.get("file")
    if not isinstance(file, Mapping):
        raise IsADirectoryError(f"{name!r} is no file in a drive ({url or number})")
    hashes = file.get("hashes")
    download_url = row.get("@microsoft.graph.downloadUrl")
    return DriveItem(
        url=url or url_of(row),
        id=number,
        name=name,
        size=size,
        tag=str(row.get("cTag") or row.get("eTag") or ""),
        hashes={name: str(value) for name, value in hashes.items()} if isinstance(hashes, Mapping) else {},
        download_url=download_url if isinstance(download_url, str) else None,
    )


def url_of(source: ItemSource) -> str:
    """
    Return the URL of an item.

    :raises ValueError: if a row does not say in which drive it is.
    :raises TypeError: if it is neither a URL nor a row.
    """
    if isinstance(source, str):
        # A path may end with a colon, behind which something would follow.
        return source.removesuffix(":") if _is_path(source) else source
    if not isinstance(source, Mapping):
        raise TypeError(f"an item of a drive is a URL or a row of a listing, not of type {type(source).__name__}")
    parent, number = source.get("parentReference"), source.get("id")
    drive = parent.get("driveId") if isinstance(parent, Mapping) else None
    if drive is None or number is None:
        raise ValueError(
            "a row without id and parentReference.driveId is no item of a drive; select both, or give a URL"
        )
    return f"drives/{drive}/items/{number}"


def item_key(source: ItemSource) -> Key:
    """Return what tells one item from another, and a file that was changed from what it was."""
    url = url_of(source)
    if not isinstance(source, Mapping):
        return url
    tag = source.get("cTag") or source.get("eTag") or source.get("lastModifiedDateTime") or ""
    return url, str(tag)


def content_url(url: str) -> str:
    """Return where the content of an item is."""
    return _below(url, "content")


def session_url(url: str) -> str:
    """Return where upload sessions for an item are made."""
    return _below(url, "createUploadSession")


def _below(url: str, what: str) -> str:
    url = url_of(url)
    return f"{url}:/{what}" if _is_path(url) else f"{url}/{what}"


def _is_path(url: str) -> bool:
    return ":/" in url.removeprefix("https://").removeprefix("http://")


def file_hash(path: str | os.PathLike[str], hashes: Mapping[str, str]) -> tuple[str, str, str] | None:
    """
    Hash a local file by the best of the ways in which Graph has hashed its content.

    :param path: of the file.
    :param hashes: what Graph has.
    :return: the name of the hash, what Graph has and what the file has; ``None`` if Graph has none that is known here.
    """
    for name, (make, write) in _HASHES.items():
        if expected := hashes.get(name):
            made = make()
            with open(path, "rb") as file:  # noqa: PTH123 - a path may be a descriptor
                while data := file.read(_PORTION_BYTES):
                    made.update(data)
            # What is hexadecimal has been written in either case.
            return name, expected if write is _base64 else expected.upper(), write(made)
    return None


def _hex(made: _Hash) -> str:
    return made.hexdigest().upper()  # type: ignore[attr-defined,no-any-return]


def _base64(made: _Hash) -> str:
    return made.base64()  # type: ignore[attr-defined,no-any-return]


#: From the best to the least.
_HASHES: dict[str, tuple[Callable[[], _Hash], Callable[[_Hash], str]]] = {
    "sha256Hash": (hashlib.sha256, _hex),
    "sha1Hash": (lambda: hashlib.sha1(usedforsecurity=False), _hex),
    "quickXorHash": (QuickXorHash, _base64),
}
