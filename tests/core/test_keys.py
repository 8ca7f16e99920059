# SPDX-License-Identifier: Apache-2.0
"""Keys of items, and sets of them."""

from __future__ import annotations

import tracemalloc
from enum import IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core import keys as keys_module
from airflow_provider_async.core.keys import KeySet, hash_key, key_of, plain_key

if TYPE_CHECKING:
    from airflow_provider_async.core.keys import Key

KEYS: st.SearchStrategy[Key] = st.recursive(
    st.text() | st.integers(), lambda keys: st.lists(keys, max_size=3).map(tuple), max_leaves=5
)


@given(one=KEYS, other=KEYS)
def test_equal_keys_and_no_others_have_the_same_hash(one: Key, other: Key) -> None:
    assert (hash_key(one) == hash_key(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), (("a", "b"), ("ab",)), (("a", "b"), "ab"), ((), ""), (("a", ("b",)), ("a", "b")), (12, (1, 2))],
)
def test_keys_of_different_kinds_differ(one: Key, other: Key) -> None:
    assert hash_key(one) != hash_key(other)


def test_a_hash_is_the_same_in_every_process() -> None:
    assert hash_key(("/in/a.xml", 3)) == 4_925_936_852_786_145_448


def test_a_name_that_is_no_utf_8_is_a_key() -> None:
    assert len({hash_key(name) for name in ("\udcff", "\udcfe", "\ud800", "\ud800\udc00", "\U00010000")}) == 5


def test_a_key_of_any_length_is_one() -> None:
    assert hash_key("x" * 1_000_000) < 1 << 64


class Listed(str):
    __slots__ = ()
    resume_key = ("a.xml", 3)


def test_an_object_may_bring_its_key() -> None:
    assert key_of(Listed("a.xml")) == ("a.xml", 3)
    assert key_of("a.xml") == "a.xml"
    assert key_of(("a", (1, "b"))) == ("a", (1, "b"))


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Point(NamedTuple):
    x: int
    y: str


@pytest.mark.parametrize(
    ("special", "plain"),
    [(Colour.RED, "red"), (Level.HIGH, 3), (Point(1, "a"), (1, "a")), ((Colour.RED, (Level.HIGH,)), ("red", (3,)))],
)
def test_a_key_of_a_special_type_is_the_same_as_a_plain_one(special: object, plain: Key) -> None:
    assert hash_key(key_of(special)) == hash_key(plain)


@given(key=KEYS)
def test_a_plain_key_stays_as_it_is(key: Key) -> None:
    assert plain_key(key) == key


@pytest.mark.parametrize(
    "item", [None, 1.5, True, b"a", ["a"], ("a", None), PurePosixPath("a"), {"a": 1}, (1, ("a", None))]
)
def test_what_is_no_key_is_refused(item: object) -> None:
    with pytest.raises(TypeError, match="has no key to resume by: give key="):
        key_of(item)


@given(first=st.sets(st.integers(0, 50)), added=st.lists(st.integers(0, 60)))
@pytest.mark.parametrize("recent", [3, 1000])
def test_a_set_of_keys_is_a_set(first: set[int], added: list[int], recent: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys_module, "_RECENT_KEYS", recent)
        check_is_a_set(first, added)


def check_is_a_set(first: set[int], added: list[int]) -> None:
    keys, expected = KeySet(first), set(first)
    for hashed in added:
        assert keys.add(hashed) == (hashed not in expected)
        expected.add(hashed)
    assert set(keys) == expected
    assert len(keys) == len(expected)
    assert all((hashed in keys) == (hashed in expected) for hashed in range(70))


def test_a_set_of_many_keys_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        keys = KeySet()
        for number in range(150_000):
            assert keys.add(number * 0x9E3779B97F4A7C15 % (1 << 64))
        used = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(keys) == 150_000
    assert used < 50 * 150_000
    assert all(number * 0x9E3779B97F4A7C15 % (1 << 64) in keys for number in range(0, 150_000, 1000))
    assert not keys.add(0)
    assert sorted(keys) == sorted(number * 0x9E3779B97F4A7C15 % (1 << 64) for number in range(150_000))
