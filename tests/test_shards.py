# SPDX-License-Identifier: Apache-2.0
"""Shards on their way through Airflow: from a task's return value to the argument of a mapped one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async import Shard, shards
from airflow_provider_async.sftp import RemoteEntry

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = [RemoteEntry(f"/out/{at:05}.xml", "file", 2000 + at, 1.7e9 + at) for at in range(1000)]


def through_an_xcom(value: list[Shard[Any]]) -> list[Shard[Any]]:
    from airflow.sdk.bases.xcom import BaseXCom

    stored = json.loads(json.dumps(BaseXCom.serialize_value(value)))
    received: list[Shard[Any]] = BaseXCom.deserialize_value(SimpleNamespace(value=stored))
    return received


@pytest.mark.parametrize("items", [ENTRIES, ["/a", "/b"], [("orders", 7), 8]])
def test_a_shard_comes_out_of_an_xcom_as_it_went_in(items: list[Any]) -> None:
    made = shards(items, 3)

    received = through_an_xcom(made)

    assert received == made
    assert [type(item) for shard in received for item in shard] == [type(item) for item in items]
    assert {type(shard) for shard in received} == {Shard}


def test_entries_of_a_listing_keep_their_resume_keys_through_an_xcom() -> None:
    received = through_an_xcom(shards(ENTRIES, 4, weight=lambda entry: entry.size or 0))
    assert {item.resume_key for shard in received for item in shard} == {entry.resume_key for entry in ENTRIES}


# An old universal_pathlib's, of the backend's own use.
@pytest.mark.filterwarnings("ignore:in a future version of UPath:PendingDeprecationWarning")
def test_shards_go_into_object_storage_where_airflow_keeps_large_xcoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = pytest.importorskip("airflow.providers.common.io.xcom.backend")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", "1000")
    made = shards(ENTRIES, 2)

    stored = backend.XComObjectStorageBackend.serialize_value(
        made, key="return_value", task_id="plan", dag_id="nightly", run_id="today"
    )

    assert len(stored) < 300
    assert backend.XComObjectStorageBackend.deserialize_value(SimpleNamespace(value=stored)) == made
