# SPDX-License-Identifier: Apache-2.0
"""
Mails through a server that fails at random, and the books of both sides compared.

``python -m tests.smtp.fuzz 1000`` runs a thousand rounds.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.smtp import Mail, SMTPClientPool
from tests.servers.smtp import FaultyServer, faulty_server

if TYPE_CHECKING:
    from airflow_provider_async.smtp import SendResult
    from tests.servers.smtp import Fault, Step

__all__ = ["Round", "complaints", "run_round"]

MAILS = 60

#: What can go wrong where; an answer that never comes takes time, so that has tests of its own.
FAULTS: dict[Step, tuple[Fault, ...]] = {
    "CONNECT": ("drop", "421"),
    "EHLO": ("drop", "421"),
    "MAIL": ("drop", "421", "450", "garbage", "432"),
    "RCPT": ("drop", "421", "450", "garbage"),
    "DATA": ("drop", "421", "451", "garbage"),
    "CONTENT": ("drop",),
    "DOT": ("drop", "drop-stored", "cut", "421", "451", "garbage"),
    "RSET": ("drop", "421"),
}


@dataclass
class Round:
    """What one round was like, and what came of it."""

    mails: list[Mail]
    results: list[SendResult]
    server: FaultyServer
    chunks: bool
    #: The recipients and the mails that the server refuses for good.
    bad: set[str]


async def run_round(seed: int, *, mails: int = MAILS) -> Round:
    """Send some mails; everything that happens follows from the seed, but for what the network does."""
    # Which fault comes when must not depend on what else is drawn.
    choice, chance = random.Random(seed), random.Random(seed + 1)
    chunks = choice.random() < 0.2
    odds = choice.choice([0.0, 0.01, 0.03, 0.08])
    offers = ["8BITMIME", "SMTPUTF8", "SIZE 10000000"]
    if choice.random() < 0.85:
        offers.append("PIPELINING")
    if chunks:
        offers.append("CHUNKING")
    messages = [_mail(choice, number) for number in range(mails)]
    bad = {recipient for mail in messages for recipient in mail.recipients if choice.random() < 0.05}
    bad |= {mail.sender for mail in messages if choice.random() < 0.03}
    bad |= {mail.message_id for mail in messages if choice.random() < 0.03}

    def fault(step: Step, about: str) -> Fault | None:
        if about in bad and step in ("MAIL", "RCPT", "DOT"):
            return "550" if step != "DOT" else "554"
        # Where each attempt begins with one, there must be less of it.
        if chance.random() < (odds / 4 if step in ("CONNECT", "EHLO", "RSET") else odds):
            return chance.choice(FAULTS[step])
        return None

    server = FaultyServer(fault, offers=tuple(offers), split=random.Random(seed) if choice.random() < 0.5 else None)
    async with (
        faulty_server(server),
        SMTPClientPool(
            connection=server.connection(),
            pool_size=choice.randint(1, 8),
            messages_per_connection=choice.choice([1, 7, 100]),
            chunking_window=4 if chunks else 0,
            retry=Retry(
                attempts=choice.choice([1, 2, 12]), initial_seconds=0.001, max_seconds=0.003, budget_seconds=30.0
            ),
        ) as pool,
    ):
        results = [result async for result in pool.send_many(messages, raise_on=None, ordered=choice.random() < 0.3)]
    return Round(messages, results, server, chunks and "PIPELINING" in offers, bad)


def _mail(choice: random.Random, number: int) -> Mail:
    message_id = f"<{number}@mails.example>"
    lines = [b"." * choice.randint(0, 3) + choice.randbytes(choice.randint(0, 30)).hex().encode() for _ in range(4)]
    if choice.random() < 0.08:
        lines.append(b"x" * choice.randint(1, 200_000))
    content = b"\r\n".join([b"Message-ID: " + message_id.encode(), b"", *lines, b""])
    recipients = tuple(f"to-{number}-{index}@mails.example" for index in range(choice.choice([1, 1, 1, 2, 5])))
    return Mail(message_id=message_id, sender=f"from-{number}@mails.example", recipients=recipients, content=content)


def complaints(run: Round) -> list[str]:
    """Return what is wrong with a round."""
    books, found = run.server.books, [*run.server.books.violations]
    expected = Counter((mail.message_id, recipient) for mail in run.mails for recipient in mail.recipients)
    got = Counter((result.message_id, result.recipient) for result in run.results)
    if got != expected:
        found.append(f"results lost: {expected - got}, results twice: {got - expected}")
    if twice := [pair for pair, times in books.stored.items() if times > 1]:
        found.append(f"mailed twice: {twice}")
    senders = {mail.message_id: mail.sender for mail in run.mails}
    for result in run.results:
        found.extend(_wrong(run, result, senders[result.message_id]))
    found += [
        f"garbled: {mail.message_id}"
        for mail in run.mails
        if books.contents.get(mail.message_id, mail.content) != mail.content
    ]
    unknown = {(result.message_id, result.recipient) for result in run.results if result.status == "unknown"}
    if missing := books.unanswered - unknown:
        found.append(f"not answered, and not reported as unknown: {missing}")
    if not run.chunks and (wrong := unknown - books.unanswered - books.cut):
        found.append(f"unknown, though answered or never whole: {wrong}")
    return found


def _wrong(run: Round, result: SendResult, sender: str) -> list[str]:
    pair = (result.message_id, result.recipient)
    is_stored = run.server.books.stored[pair] > 0
    is_bad = bool({sender, *pair} & run.bad)
    named = any(name in result.response for name in (sender, *pair))
    wrong = {
        "sent": not is_stored or is_bad or result.message_id not in result.response,
        "rejected": is_stored or not is_bad or not named,
        "deferred": is_stored or (result.code is not None and not named),
        "unknown": result.code is not None or (result.recipient in run.bad and not run.chunks),
    }
    return [f"misreported: {result}, stored: {is_stored}, bad: {is_bad}"] if wrong[result.status] else []


def main() -> int:
    """Run many rounds, and print what was wrong."""
    rounds, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    statuses: Counter[str] = Counter()
    failed = 0
    for seed in range(first, first + rounds):
        run = asyncio.run(run_round(seed))
        statuses.update(cast("str", result.status) for result in run.results)
        if found := complaints(run):
            failed += 1
            print(seed, *found, sep="\n    ")  # noqa: T201 - a script's output
    print(f"{rounds} rounds, {failed} failed: {dict(statuses)}")  # noqa: T201 - the same
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
