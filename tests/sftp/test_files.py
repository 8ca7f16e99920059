# SPDX-License-Identifier: Apache-2.0
"""Entries of a listing, which are strings that carry more."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import PurePosixPath

import pytest

from airflow_provider_async.sftp.files import MovedFile, RemoteEntry, RemoteFile, TargetNames, remote_path

ENTRY = RemoteEntry("/in/a.xml", "file", 3, 1700000000)


def told(entry: RemoteEntry) -> tuple[str, str, int | None, float | None]:
    return entry.path, entry.kind, entry.size, entry.modified


def test_an_entry_is_its_path() -> None:
    assert ENTRY == "/in/a.xml"
    assert {"/in/a.xml": 1}.get(ENTRY) == 1
    assert sorted([ENTRY, "/in/B.xml", "/in/b.xml"]) == ["/in/B.xml", ENTRY, "/in/b.xml"]
    assert f"{ENTRY}" == "/in/a.xml"
    assert PurePosixPath(ENTRY).suffix == ".xml"


def test_an_entry_tells_what_is_at_its_path() -> None:
    assert told(ENTRY) == ("/in/a.xml", "file", 3, 1700000000)
    assert ENTRY.name == "a.xml"
    assert told(RemoteEntry("/in", "folder")) == ("/in", "folder", None, None)
    assert repr(ENTRY) == "RemoteEntry('/in/a.xml', 'file', size=3, modified=1700000000)"


def test_what_is_made_of_an_entry_is_a_plain_string() -> None:
    assert {type(made) for made in (ENTRY.path, str(ENTRY), ENTRY.name, ENTRY + ".done", remote_path(ENTRY))} == {str}


def test_an_entry_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        ENTRY.owner = "root"  # type: ignore[attr-defined]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_entry_is_pickled_with_all_it_tells(protocol: int) -> None:
    again = pickle.loads(pickle.dumps(ENTRY, protocol))

    assert type(again) is RemoteEntry
    assert told(again) == told(ENTRY)


def test_an_entry_is_copied_with_all_it_tells() -> None:
    for again in (copy.copy(ENTRY), copy.deepcopy([ENTRY])[0]):
        assert type(again) is RemoteEntry
        assert told(again) == told(ENTRY)


def test_an_entry_becomes_json_as_its_path() -> None:
    assert json.dumps([ENTRY]) == '["/in/a.xml"]'
    assert json.dumps({ENTRY: 1}) == '{"/in/a.xml": 1}'


def test_airflow_takes_an_entry_for_a_string() -> None:
    from airflow.sdk.execution_time.comms import SetXCom

    message = SetXCom(key="return_value", value=[ENTRY], dag_id="d", run_id="r", task_id="t").model_dump()

    assert [type(path) for path in message["value"]] == [str]


def test_a_path_is_taken_in_each_of_its_forms() -> None:
    assert {remote_path(path) for path in ("/in/a.xml", PurePosixPath("/in/a.xml"), ENTRY)} == {"/in/a.xml"}
    assert TargetNames(PurePosixPath("/in")).name(PurePosixPath(ENTRY)) == "a.xml"


def test_results_tell_their_size_and_whether_there_was_anything_to_do() -> None:
    assert RemoteFile("a.xml", b"<a/>").size == 4
    assert not MovedFile("a.xml", "old/a.xml").skipped


# Walks: the files of a tree.
