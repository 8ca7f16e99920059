# SPDX-License-Identifier: Apache-2.0
"""Splitting work into even parts, and what becomes of them on their way through JSON."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async import Shard, amap, shards
from airflow_provider_async.core.keys import key_of
from airflow_provider_async.core.resume import Checkpoints, resuming_by
from airflow_provider_async.sftp import RemoteEntry
from airflow_provider_async.sftp.files import remote_key
from tests.core.memory_store import MemoryStore

keys = st.recursive(
    st.text(st.characters(codec=None)) | st.integers(),
    lambda parts: st.lists(parts, max_size=3).map(tuple),
    max_leaves=4,
)


def sent(shard: Shard[Any]) -> Shard[Any]:
    return Shard.deserialize(json.loads(json.dumps(shard.serialize())), 1)


@given(st.lists(keys, unique_by=lambda key: (type(key), key)), st.integers(1, 20))
def test_every_item_is_in_one_part_and_the_parts_are_even(items: list[Any], parts: int) -> None:
    made = shards(items, parts)

    assert [item for shard in made for item in shard] == items
    assert [(shard.index, shard.parts) for shard in made] == [(at, len(made)) for at in range(len(made))]
    lengths = [len(shard) for shard in made]
    assert len(made) == min(parts, len(items))
    assert not items or max(lengths) - min(lengths) <= 1


@given(st.lists(st.integers(0, 10**12)), st.integers(1, 12))
def test_parts_by_weight_are_no_heavier_than_four_thirds_of_the_best(weights: list[int], parts: int) -> None:
    made = shards(range(len(weights)), parts, weight=lambda at: weights[at])

    assert sorted(at for shard in made for at in shard) == list(range(len(weights)))
    assert all(list(shard) == sorted(shard) for shard in made)
    if weights:
        # What no split can beat.
        best = max(*weights, sum(weights) / len(made))
        loads = [sum(weights[at] for at in shard) for shard in made]
        # Of one item more than there are parts, two are in the same part.
        heaviest = sorted(weights, reverse=True)
        if len(weights) > len(made):
            best = max(best, heaviest[len(made) - 1] + heaviest[len(made)])
        assert max(loads) <= best * 4 / 3 + 1e-6


def test_items_without_a_weight_are_spread_by_their_number() -> None:
    assert [len(shard) for shard in shards(range(10), 4, weight=lambda _: 0)] == [3, 3, 2, 2]


def test_the_same_items_give_the_same_parts() -> None:
    sizes = [7, 1, 7, 3, 3, 9, 0, 2]
    first, second = (shards(range(8), 3, weight=lambda at: sizes[at]) for _ in range(2))
    assert first == second
    assert [list(shard) for shard in first] == [[5, 7], [0, 1, 3], [2, 4, 6]]


@given(st.lists(keys, unique_by=lambda key: (type(key), key), min_size=1), st.integers(1, 5))
def test_a_part_comes_out_of_json_as_it_went_in(items: list[Any], parts: int) -> None:
    made = shards(items, parts)
    assert list(map(sent, made)) == made


def test_an_entry_of_a_listing_keeps_what_it_is_resumed_by() -> None:
    entry = RemoteEntry("/out/\udcff.xml", "file", size=10, modified=1.5)
    (shard,) = shards([entry, RemoteEntry("/out/b.xml", "other")], 1)

    first, second = sent(shard)

    assert type(first) is RemoteEntry
    assert (first.kind, first.size, first.modified) == ("file", 10, 1.5)
    assert key_of(first) == key_of(entry) == remote_key(entry)
    assert (second.kind, second.size) == ("other", None)


def test_a_listing_takes_a_few_bytes_a_file() -> None:
    entries = [RemoteEntry(f"/out/{at:05}.xml", "file", 2000 + at * 7919 % 4000, 1.7e9 + at) for at in range(17_000)]
    made = shards(entries, 4, weight=lambda entry: entry.size or 0)
    assert sum(len(json.dumps(shard.serialize())) for shard in made) < 17_000 * 15


def test_a_part_is_a_collection() -> None:
    shard = Shard(["a", "b"], index=1, parts=3)
    assert (list(shard), len(shard), "b" in shard, "c" in shard) == (["a", "b"], 2, True, False)
    assert repr(shard) == "<Shard 2 of 3: 2 items>"
    assert shard == copy.deepcopy(shard) == pickle.loads(pickle.dumps(shard))
    assert len({shard, copy.copy(shard), Shard(["a", "b"], index=0, parts=3)}) == 2
    assert shard != ["a", "b"]


@pytest.mark.parametrize("item", [1.5, True, None, b"a", ["a"], {"a": 1}, ("a", None), object()])
def test_what_json_would_not_give_back_is_refused(item: object) -> None:
    with pytest.raises(TypeError, match="cannot be part of a shard: give strings, integers, tuples of these, or ent"):
        shards(["a", item], 2)


def test_an_item_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'/a' is there twice; two tasks would do the same work"):
        shards(["/a", "/b", "/a"], 2)
    assert len(shards([1, "1", RemoteEntry("1", "file", 3)], 3)) == 3


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), None, "3", True])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="the weight of 'a' must be a number of at least 0, not "):
        shards(["a"], 2, weight=lambda _: weight)


def test_what_makes_no_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="parts must be at least 1, not 0"):
        shards(["a"], 0)
    with pytest.raises(TypeError, match="items is one str, not an iterable of items"):
        shards("abc", 2)
    with pytest.raises(ValueError, match="index must be between 0 and 3"):
        Shard(["a"], index=4, parts=4)
    assert shards([], 3) == []


@pytest.mark.parametrize("name", ["os.system", "builtins.str", "airflow_provider_async.core.keys.key_of", "str"])
def test_nothing_but_an_entry_of_a_listing_is_made_of_an_xcom(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_async.core.shards._encode", lambda item: {name: [item]})
    value = Shard(["touch /tmp/x"], index=0, parts=1).serialize()
    with pytest.raises(TypeError, match="which is no entry of a listing"):
        Shard.deserialize(value, 1)


def test_a_part_of_a_later_version_is_refused() -> None:
    with pytest.raises(ValueError, match="made by a later version of this package"):
        Shard.deserialize(Shard(["a"], index=0, parts=1).serialize(), 2)


async def test_each_part_resumes_on_its_own() -> None:
    done: list[str] = []
    stores = [MemoryStore(), MemoryStore()]

    async def work(item: str) -> str:
        done.append(item)
        if item == "c" and done.count("c") == 1:
            raise ConnectionError
        return item

    async def load(shard: Shard[str], attempt: int) -> int:
        async with Checkpoints(stores[shard.index], identity=str(shard.index), attempt=attempt) as checkpoints:
            with resuming_by(lambda: checkpoints):
                results = amap(work, shard, limit=1, resume="load")
                async for _ in results:
                    pass
        return results.progress.resumed

    first, second = shards(["a", "b", "d", "c"], 2)
    assert await load(first, 1) == 0
    with pytest.raises(ConnectionError):
        await load(second, 1)
    assert await load(sent(second), 2) == 1
    assert done == ["a", "b", "d", "c", "c"]
