# SPDX-License-Identifier: Apache-2.0
"""What the example DAGs do with a file: an order, in XML, becomes rows of an SQLite table."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["OrderLine", "insert", "parse", "select"]


class OrderLine(NamedTuple):
    """
    One line of an order.

    :param order_id: the order.
    :param line: its line, from 1.
    :param sku: what was ordered.
    :param quantity: how many.
    :param cents: the price of one.
    """

    order_id: str
    line: int
    sku: str
    quantity: int
    cents: int


def parse(document: bytes) -> Iterator[OrderLine]:
    """
    Yield the lines of an order.

    :param document: the order in XML.
    :raises xml.etree.ElementTree.ParseError: if it is not XML.
    :raises KeyError: naming what a line lacks.
    """
    order = ET.fromstring(document)  # noqa: S314 - expat bounds what entities expand to, and fetches none
    for line in order.iterfind("lines/line"):
        yield OrderLine(
            order.attrib["id"],
            int(line.attrib["number"]),
            line.attrib["sku"],
            int(line.attrib["quantity"]),
            int(Decimal(line.attrib["price"]) * 100),
        )


def insert(database: str, documents: Iterable[bytes]) -> None:
    """
    Insert the lines of orders, all of them or none.

    Those that are there already are replaced: inserting a file twice does no harm.

    :param database: the path of the SQLite file; made if it is missing.
    :param documents: orders in XML.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS order_lines (order_id TEXT, line INTEGER, sku TEXT, quantity INTEGER, "
            "cents INTEGER, PRIMARY KEY (order_id, line))"
        )
        connection.executemany(
            "INSERT OR REPLACE INTO order_lines VALUES (?, ?, ?, ?, ?)",
            (line for document in documents for line in parse(document)),
        )


def select(database: str) -> set[OrderLine]:
    """
    Return the lines of all orders.

    :param database: the path of the SQLite file.
    """
    with closing(sqlite3.connect(database)) as connection:
        return {OrderLine(*row) for row in connection.execute("SELECT * FROM order_lines")}
