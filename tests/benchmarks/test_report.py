# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks make of times: scaled samples, medians, claims kept or missed; and the files they serve."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from benchmarks import sftp
from benchmarks.support import server
from benchmarks.support.plot import duration
from benchmarks.support.report import Growth, Ratio, Time, Times, check, print_table

if TYPE_CHECKING:
    from pathlib import Path


def full(seconds: float, growth_mib: float | None = None) -> Time:
    return Time(seconds=seconds, files=1000, of=1000, growth_mib=growth_mib)


@pytest.fixture
def times() -> Times:
    return Times(
        {"Python": "3.11"},
        {
            "slow@0": [full(9.0), full(8.0), full(20.0)],
            "fast@0": [full(3.0, 10), full(1.0, 40), full(2.0, 30)],
        },
    )


def test_the_time_of_all_files_is_what_it_is() -> None:
    assert full(7.5).scaled_seconds == 7.5


def test_the_time_of_a_sample_is_scaled() -> None:
    assert Time(seconds=2.0, files=100, of=1000).scaled_seconds == pytest.approx(20.0)


def test_what_very_few_files_take_is_counted_once() -> None:
    # Starting takes a second, each file ten milliseconds.
    time = Time(seconds=2.0, files=100, of=1000, few_seconds=1.1, few_files=10)
    assert time.scaled_seconds == pytest.approx(1 + 1000 * 0.01)


def test_the_median_of_all_rounds_counts(times: Times) -> None:
    assert times.seconds("slow@0") == 9.0
    assert times.seconds("other@0") is None


def test_the_most_that_memory_ever_grew_counts(times: Times) -> None:
    assert times.growth_mib("fast@0") == 40
    assert times.growth_mib("slow@0") is None


def test_what_was_saved_is_read_again(times: Times, tmp_path: Path) -> None:
    times.save(tmp_path / "times.json")
    assert Times.load(tmp_path / "times.json") == times


@pytest.mark.parametrize(
    ("claim", "holds", "start"),
    [
        (Ratio(claim="c", slow="slow@0", fast="fast@0", at_least=4.5), True, "ok   c: 4.50 times (at least 4.5 times)"),
        (Ratio(claim="c", slow="slow@0", fast="fast@0", at_least=4.6), False, "MISS c: 4.50 times"),
        (Ratio(claim="c", slow="fast@0", fast="slow@0", at_most=0.3), True, "ok   c: 0.22 times (at most 0.3 times)"),
        (Ratio(claim="c", slow="fast@0", fast="slow@0", at_most=0.2), False, "MISS c: 0.22 times"),
        (Ratio(claim="c", slow="slow@0", fast="other@0", at_least=2), True, "---- c: not measured (at least 2 times)"),
        (Growth(claim="c", runs=("slow@0", "fast@0"), at_most=40), True, "ok   c: 40.00 MiB (at most 40 MiB)"),
        (Growth(claim="c", runs=("slow@0", "fast@0"), at_most=39), False, "MISS c: 40.00 MiB"),
        (Growth(claim="c", runs=("slow@0",), at_most=39), True, "---- c: not measured (at most 39 MiB)"),
    ],
)
def test_a_claim_is_printed_beside_what_was_measured(
    times: Times, claim: Ratio | Growth, holds: bool, start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(claim, times) is holds
    assert capsys.readouterr().out.startswith(start)


def test_the_table_says_what_was_scaled(capsys: pytest.CaptureFixture[str]) -> None:
    times = Times({}, {"some": [Time(seconds=2.0, files=100, of=17_000)], "all": [full(3.0)]})
    print_table(times, heading="client")
    heading, some, everything = capsys.readouterr().out.splitlines()
    assert heading.startswith("client")
    assert some.split()[:2] == ["some", "340.00"]
    assert some.endswith("100 of 17,000, scaled")
    assert everything.endswith("1,000")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.72, "3.7 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (509, "8 min 29 s"),
        (3599.7, "1 h 00 min"),
        (12_355, "3 h 26 min"),
    ],
)
def test_a_duration_is_written_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_every_claim_is_about_runs_that_take_place() -> None:
    runs = {f"{name}@{rtt}" for name, client in sftp.CLIENTS.items() for rtt in client.files}
    for claim in sftp.CLAIMS:
        if isinstance(claim, Ratio):
            assert {claim.slow, claim.fast} <= runs
        else:
            assert runs & {*claim.runs}
    assert sftp.NAMES.keys() <= sftp.CLIENTS.keys()


def test_the_files_are_the_same_each_time(tmp_path: Path) -> None:
    first, second = server.make_files(tmp_path / "a", 20), server.make_files(tmp_path / "b", 20)
    assert first.sizes == second.sizes == server.sizes_in(tmp_path / "a")
    assert all(2_000 <= size <= 6_000 for size in first.sizes.values())
    assert [(tmp_path / "a" / name).read_bytes() for name in first.sizes] == [
        (tmp_path / "b" / name).read_bytes() for name in first.sizes
    ]


def test_a_copy_is_compared_byte_by_byte(tmp_path: Path) -> None:
    files, copy = server.make_files(tmp_path / "a", 20), tmp_path / "b"
    server.make_files(copy, 20)
    assert server.same_files(files, copy)
    changed = copy / "00007.xml"
    changed.write_bytes(changed.read_bytes().swapcase())
    os.utime(changed, ns=(0, (files.folder / changed.name).stat().st_mtime_ns))
    assert not server.same_files(files, copy)
    server.make_files(tmp_path / "c", 19)
    assert not server.same_files(files, tmp_path / "c")


def test_a_sample_has_the_first_files(tmp_path: Path) -> None:
    files = server.make_files(tmp_path / "a", 20)
    sample = server.make_sample(files, 5)
    assert server.sizes_in(sample.folder) == sample.sizes == dict(list(files.sizes.items())[:5])
    assert server.make_sample(files, 5) == sample
    assert server.make_sample(files, 20) is files


def test_the_tree_has_as_many_names_as_it_says(tmp_path: Path) -> None:
    names = server.make_tree(tmp_path / "tree", groups=1)
    assert names == sum(path.is_file() for path in (tmp_path / "tree").rglob("*")) == 10_000
    assert sum(path.is_dir() for path in (tmp_path / "tree" / "00").rglob("*")) == 99


def test_a_large_file_has_its_size(tmp_path: Path) -> None:
    assert server.make_big_file(tmp_path / "big", 3 * 1024**2).sizes == {"big.bin": 3 * 1024**2}
