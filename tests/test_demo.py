# SPDX-License-Identifier: Apache-2.0
"""``make demo``: what it prints, and what it leaves behind, which is nothing."""

from __future__ import annotations

import importlib.metadata
import os
import re
import signal
import socket
import subprocess
import sys
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from airflow_provider_async.example_dags import orders
from airflow_provider_async.example_dags.demo import processes
from airflow_provider_async.example_dags.demo.files import make_order
from airflow_provider_async.example_dags.demo.report import Measurement, format_table
from airflow_provider_async.example_dags.demo.run import run
from airflow_provider_async.example_dags.demo.scenario import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
MODULE = "airflow_provider_async.example_dags.demo"
GONE_SECONDS = 20


def is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_sftp_provider = pytest.mark.skipif(
    not is_installed("apache-airflow-providers-sftp"), reason="apache-airflow-providers-sftp is not installed"
)


class Demo:
    """
    The demo, with folders of its own for whatever it may write.

    :param folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self.temporary, self.home, self.here = (folder / name for name in ("tmp", "home", "here"))
        for made in (self.temporary, self.home, self.here):
            made.mkdir()
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run it in a group of its own, as a shell does."""
        # AIRFLOW_HOME stands for the user's own Airflow.
        own = {"TMPDIR": str(self.temporary), "HOME": str(self.home), "AIRFLOW_HOME": str(self.home / "airflow")}
        with subprocess.Popen(
            [sys.executable, "-m", MODULE, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | own,
            cwd=self.here,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()
                for pid in self.processes():
                    os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[int]:
        """Return those that know its folders."""
        found = []
        for environment in Path("/proc").glob("[0-9]*/environ"):
            try:
                if str(self._folder).encode() in environment.read_bytes():
                    found.append(int(environment.parent.name))
            except OSError:
                continue
        return found

    def files(self) -> list[Path]:
        """Return all that it has left."""
        return [path for folder in (self.temporary, self.home, self.here) for path in folder.rglob("*")]


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path)


def read_until(text: str, output: IO[str] | None) -> None:
    assert output is not None
    for line in output:
        if text in line:
            return
    pytest.fail(f"the demo ended before it said {text!r}")


@needs_sftp_provider
@pytest.mark.timeout(300)
def test_loads_all_files_beside_two_samples_and_leaves_nothing_behind(demo: Demo) -> None:
    with demo.running("--files", "60", "--sample", "2", "--kept-sample", "5") as process:
        output, errors = process.communicate()
        assert (process.returncode, errors) == (0, ""), output
        assert demo.processes() == []
    rows = [sum(len(make_order(number).lines) for number in range(count)) for count in (60, 60, 2, 5)]
    table = [re.split(r"\s{2,}", line) for line in output.splitlines() if line.startswith(("SFTP", "the same"))]
    files, seconds, _, ratios, loaded, connections = zip(*(line[1:] for line in table), strict=True)
    assert files == ("60", "60", "2", "5")
    assert all(float(taken) > 0 for taken in seconds)
    assert ratios[0] == "1.0"
    assert loaded == tuple(f"{count:,}" for count in rows)
    # SFTPHook lists the folder over a connection, too.
    assert connections[2:] == ("3", "1")
    assert int(connections[0]) in (1, 2)
    assert int(connections[1]) in (2, 3, 4)
    assert demo.files() == []


@needs_sftp_provider
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("said", "signum"),
    [
        ("Starting", signal.SIGINT),
        ("listens", signal.SIGTERM),
        ("Laying out", signal.SIGINT),
        ("Waiting for Airflow", signal.SIGHUP),
        ("load_orders_in_loop", signal.SIGINT),
    ],
)
def test_a_signal_at_any_time_leaves_no_process_and_no_file_behind(
    demo: Demo, said: str, signum: signal.Signals
) -> None:
    with demo.running("--sample", "2000") as process:
        read_until(said, process.stdout)
        # To the group, as Ctrl-C at a terminal, and twice, as from somebody who cannot wait.
        os.killpg(process.pid, signum)
        os.killpg(process.pid, signum)
        output, errors = process.communicate()
        assert (process.returncode, errors) == (128 + signum, "")
        assert "Stopped" in output
        assert demo.processes() == []
    assert demo.files() == []


@needs_sftp_provider
def test_when_the_demo_itself_is_killed_its_processes_end(demo: Demo) -> None:
    with demo.running() as process:
        read_until("Laying out", process.stdout)
        assert len(demo.processes()) == 3
        process.kill()
        process.wait()
        give_up_at = time.monotonic() + GONE_SECONDS
        while demo.processes():
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


@needs_sftp_provider
def test_a_busy_port_is_answered_with_one_sentence(demo: Demo) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with demo.running("--port", str(port)) as process:
            output, errors = process.communicate()
    assert process.returncode == 1
    assert errors == (
        f"demo: Port {port} of 127.0.0.1 is in use: choose another with --port, or leave it out for a free one.\n"
    )
    assert output.splitlines() == ["Starting Airflow and an SFTP server, both for this run alone ..."]
    assert demo.files() == []


@needs_sftp_provider
@pytest.mark.parametrize("option", [("--port", "65536"), ("--files", "0"), ("--sample", "many")])
def test_an_option_out_of_range_is_answered_with_its_usage(demo: Demo, option: tuple[str, str]) -> None:
    with demo.running(*option) as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (2, "")
    assert errors.splitlines()[-1].startswith(f"demo: error: argument {option[0]}: invalid")
    assert "Traceback" not in errors


def test_a_python_without_the_packages_is_answered_with_one_sentence(tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False, symlinks=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [tmp_path / "empty" / "bin" / "python", "-B", "-m", MODULE],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "demo: apache-airflow is not installed for this Python: `make demo` installs all that is needed into .venv.\n"
    )


def test_an_old_python_is_answered_with_one_sentence() -> None:
    main = ROOT / "airflow_provider_async" / "example_dags" / "demo" / "__main__.py"
    code = f"import runpy, sys; sys.version_info = (3, 9, 18); runpy.run_path({str(main)!r}, run_name='__main__')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "demo: Python 3.11 or newer is needed, this is 3.9: choose another with `make PYTHON=... demo`.\n"
    )


def test_missing_rows_end_in_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def measure(*_: object) -> list[Measurement]:
        return [
            Measurement(name="all", files=20, seconds=2.0, rows=30, expected_rows=30, connections=2),
            Measurement(name="less", files=10, seconds=4.0, rows=14, expected_rows=15, connections=11),
        ]

    monkeypatch.setattr(f"{MODULE}.run.measure", measure)
    assert run(Options(), verbose=False) == 1
    output, errors = capsys.readouterr()
    assert errors == "demo: Rows are missing.\n"
    assert "14 of 15" in output


def test_the_ratio_compares_the_first_line_with_the_others() -> None:
    lines = format_table(
        [
            Measurement(name="ours", files=2000, seconds=2.0, rows=31_034, expected_rows=31_034, connections=2),
            Measurement(name="theirs", files=100, seconds=12.5, rows=1_500, expected_rows=1_500, connections=101),
        ]
    ).splitlines()
    assert lines == [
        "        files  seconds  files a second  ratio  rows loaded  connections",
        "ours    2,000     2.00           1,000    1.0       31,034            2",
        "theirs    100    12.50             8.0    125        1,500          101",
    ]


async def test_a_process_that_ends_before_its_answer_is_an_error(tmp_path: Path) -> None:
    async with processes.child("It", "keyword", folder=tmp_path, environment=os.environ, errors=None) as child:
        with pytest.raises(processes.ChildEnded, match=r"It ended unexpectedly, with status 0\."):
            await child.ask(question=1)


def test_the_files_are_the_same_each_time_and_of_two_to_six_kilobytes() -> None:
    made = [make_order(number) for number in range(2000)]
    assert made[:10] == [make_order(number) for number in range(10)]
    assert all(2000 <= len(order.document) <= 6000 for order in made)
    assert [order.name for order in made] == sorted({order.name for order in made})


def test_an_order_that_is_inserted_twice_is_in_the_database_once(tmp_path: Path) -> None:
    database = str(tmp_path / "orders.db")
    made = [make_order(number) for number in range(3)]
    orders.insert(database, [order.document for order in made])
    orders.insert(database, [made[1].document])
    assert orders.select(database) == {line for order in made for line in order.lines}
