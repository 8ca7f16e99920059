# SPDX-License-Identifier: Apache-2.0
"""What became of the mails."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict

__all__ = ["Refusal", "SendReport", "SendResult", "Status", "Summary", "describe"]

#: ``sent``: the server has taken it. ``rejected``: it never will. ``deferred``: it did not, as often as it was asked.
#: ``unknown``: it had the whole mail and did not answer.
Status: TypeAlias = Literal["sent", "rejected", "deferred", "unknown"]

#: A report has the first refusals in full.
_MOST_REFUSALS = 10

#: And an error's sentence has some of them.
_MOST_DESCRIBED = 3


@dataclass(frozen=True, slots=True)
class SendResult:
    """
    What became of one mail to one recipient.

    :param message_id: the mail's header Message-ID.
    :param recipient: the address.
    :param status: ``sent``, ``rejected``, ``deferred`` or ``unknown``.
    :param code: what the server answered last, such as 550; ``None`` if it did not answer, or was not asked.
    :param response: the text of that answer, or why there is none.
    """

    message_id: str
    recipient: str
    status: Status
    code: int | None
    response: str


class Refusal(TypedDict):
    """One result other than ``sent``; each field means what it means in ``SendResult``."""

    recipient: str
    status: Status
    code: int | None
    response: str


class SendReport(TypedDict):
    """
    The counts of all recipients by status, those of earlier tries included: what a task can return.

    ``resumed`` are those of them that an earlier try has settled; ``refusals`` has the first ten of this try.
    """

    sent: int
    rejected: int
    deferred: int
    unknown: int
    resumed: int
    refusals: list[Refusal]


class Summary:
    """Adds up results."""

    def __init__(self) -> None:
        self._counts: Counter[Status] = Counter()
        self._resumed = 0
        self._refusals: list[Refusal] = []

    def add(self, result: SendResult) -> None:
        """Count a result."""
        self._counts[result.status] += 1
        if result.status != "sent" and len(self._refusals) < _MOST_REFUSALS:
            refusal: Refusal = {
                "recipient": result.recipient,
                "status": result.status,
                "code": result.code,
                "response": result.response,
            }
            self._refusals.append(refusal)

    def resume(self, status: Status) -> None:
        """Count what an earlier try has settled."""
        self._counts[status] += 1
        self._resumed += 1

    @property
    def report(self) -> SendReport:
        """The counts of this moment."""
        counts = self._counts
        return {
            "sent": counts["sent"],
            "rejected": counts["rejected"],
            "deferred": counts["deferred"],
            "unknown": counts["unknown"],
            "resumed": self._resumed,
            "refusals": [*self._refusals],
        }


def describe(report: SendReport) -> str:
    """Return a report in one sentence, with the first refusals."""
    counts = report["sent"], report["rejected"], report["deferred"], report["unknown"]
    parts = ["{} sent, {} rejected, {} deferred, {} unknown".format(*counts)]
    for refusal in report["refusals"][:_MOST_DESCRIBED]:
        code = "" if refusal["code"] is None else f"{refusal['code']} "
        parts.append(f"{refusal['recipient']} {refusal['status']}: {code}{refusal['response']}")
    return "; ".join(parts)
