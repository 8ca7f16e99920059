# SPDX-License-Identifier: Apache-2.0
"""The files that the demo lays out: orders in XML, of 2 to 6 KB, the same each time."""

from __future__ import annotations

import random
from typing import NamedTuple

from airflow_provider_async.example_dags.orders import OrderLine

__all__ = ["Order", "make_order"]

_FASTENERS = ("Hex bolt", "Carriage bolt", "Set screw", "Threaded rod", "Wing nut", "Lock nut", "Washer", "Anchor")
_FINISHES = ("zinc plated", "hot-dip galvanised", "stainless steel A2", "stainless steel A4", "plain", "brass")
_UNITS = ("box of 50", "box of 100", "box of 500", "single piece")
_CUSTOMERS = ("Nordlicht Möbelbau GmbH", "Atelier Béranger SARL", "Harbour & Sons Ltd", "Officine Valsesia S.p.A.")
_STREETS = ("Hafenstraße 12", "18 rue des Tanneurs", "4 Quay Lane", "Via Molino Vecchio 31")
_NOTES = ("", "Deliver to gate 3, ring twice.", "Partial delivery is fine.", "Please call a day before delivery.")

_FEWEST_LINES, _MOST_LINES = 8, 23


class Order(NamedTuple):
    """
    One file.

    :param name: of the file.
    :param document: what is in it.
    :param lines: what a database has to have of it in the end.
    """

    name: str
    document: bytes
    lines: list[OrderLine]


def make_order(number: int) -> Order:
    """
    Return an order, always the same for a number.

    :param number: of the order, from 0; files sort by it.
    """
    chance = random.Random(number)  # noqa: S311 - no secret
    order_id = f"PO-{2026_000_000 + number}"
    lines: list[OrderLine] = []
    elements: list[str] = []
    for line in range(1, chance.randint(_FEWEST_LINES, _MOST_LINES) + 1):
        diameter, length = chance.choice((4, 5, 6, 8, 10, 12, 16)), chance.randrange(10, 200, 5)
        article, finish = chance.randrange(len(_FASTENERS)), chance.randrange(len(_FINISHES))
        sku = f"{10 + article}-{diameter:02}{length:03}-{finish}"
        quantity, cents = chance.randint(1, 400), chance.randint(3, 9999)
        lines.append(OrderLine(order_id, line, sku, quantity, cents))
        elements.append(
            f'    <line number="{line}" sku="{sku}" quantity="{quantity}" price="{cents // 100}.{cents % 100:02}">\n'
            f"      <description>{_FASTENERS[article]} M{diameter} x {length}, {_FINISHES[finish]}</description>\n"
            f"      <unit>{chance.choice(_UNITS)}</unit>\n"
            f'      <delivery warehouse="{chance.randint(1, 9)}" earliest="2026-03-{chance.randint(1, 28):02}"/>\n'
            f"    </line>\n"
        )
    customer = chance.randrange(len(_CUSTOMERS))
    total = sum(line.quantity * line.cents for line in lines)
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<order id="{order_id}" date="2026-02-{chance.randint(1, 28):02}" currency="EUR">\n'
        f'  <customer number="{10_400 + chance.randint(0, 599)}">\n'
        f"    <name>{_CUSTOMERS[customer].replace('&', '&amp;')}</name>\n"
        f"    <address>{_STREETS[customer]}</address>\n"
        f'    <contact email="purchasing@example.com" phone="+49 40 55501{chance.randint(10, 99)}"/>\n'
        f"  </customer>\n"
        f"  <lines>\n{''.join(elements)}  </lines>\n"
        f'  <total net="{total // 100}.{total % 100:02}" vat="19"/>\n'
        f"  <note>{chance.choice(_NOTES)}</note>\n"
        f"</order>\n"
    )
    return Order(f"{order_id}.xml", document.encode(), lines)
