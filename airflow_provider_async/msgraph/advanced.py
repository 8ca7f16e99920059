# SPDX-License-Identifier: Apache-2.0
"""
Which queries Graph answers only with ``ConsistencyLevel: eventual`` and ``$count=true``.

https://learn.microsoft.com/graph/aad-advanced-queries
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["CONSISTENCY", "EVENTUAL", "advanced_params"]

CONSISTENCY = "ConsistencyLevel"
EVENTUAL = "eventual"

#: Collections of directory objects, and those that lead from one to others. Mail, calendars, files and Teams, which may
#: be below a user or a group, are none.
_DIRECTORY = frozenset(
    {
        "administrativeunits",
        "applications",
        "contacts",
        "contracts",
        "devices",
        "directoryobjects",
        "directoryroles",
        "groups",
        "oauth2permissiongrants",
        "orgcontacts",
        "serviceprincipals",
        "users",
    }
)
_RELATIONS = frozenset(
    {
        "administrativeunits",
        "approleassignedto",
        "approleassignments",
        "createdobjects",
        "delegatedpermissiongrants",
        "deleteditems",
        "directreports",
        "memberof",
        "members",
        "memberswithlicenseerrors",
        "oauth2permissiongrants",
        "ownedobjects",
        "owneddevices",
        "owners",
        "registereddevices",
        "registeredowners",
        "registeredusers",
        "transitivememberof",
        "transitivemembers",
        "transitivereports",
    }
)

#: What stands between quotes may be anything; a quote in it is doubled.
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_ADVANCED = re.compile(r"\b(?:ne|not)\b|\b(?:endswith|contains)\s*\(|/\$count\b", re.IGNORECASE)


def advanced_params(url: str) -> dict[str, str] | None:
    """
    Return what has to be added to the query, along with the header; ``None`` if the query needs neither.

    :param url: a path below the version, or an absolute URL, with its query.
    """
    parts = urlsplit(url)
    path = [segment.lower() for segment in unquote(parts.path).split("/") if segment]
    if not _is_directory(path):
        return None
    query = {name.lower(): value for name, value in parse_qsl(parts.query, keep_blank_values=True)}
    # A link that Graph has given has all it needs.
    if "$skiptoken" in query or "$deltatoken" in query:
        return None
    if path[-1] == "$count":
        return {}
    if query.get("$count", "").lower() == "true":
        return {}
    condition = _LITERAL.sub("''", query.get("$filter", ""))
    if "$search" in query or _ADVANCED.search(condition) or (condition and "$orderby" in query):
        return {"$count": "true"}
    return None


def _is_directory(path: list[str]) -> bool:
    # The last part may be a cast, such as microsoft.graph.user, or the count.
    path = [segment for segment in path if not segment.startswith("microsoft.graph.") and segment != "$count"]
    if path and path[0] in {"v1.0", "beta"}:
        path = path[1:]
    if path and path[0] == "directory":
        path = path[1:]
    if not path:
        return False
    if path[0] == "me":
        return len(path) == 2 and path[1] in _RELATIONS  # noqa: PLR2004 - me and what leads on
    if path[0] not in _DIRECTORY and path[0] != "deleteditems":
        return False
    return len(path) == 1 or (len(path) > 2 and path[-1] in _RELATIONS)  # noqa: PLR2004 - collection, id, relation
