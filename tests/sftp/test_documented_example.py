# SPDX-License-Identifier: Apache-2.0
"""The SFTP examples of the proposal for async tasks in Airflow run when imports and decorator are changed."""

from __future__ import annotations

import gc
import textwrap
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task

from airflow_provider_async.decorators import async_python_task
from tests.servers.sftp import write_files

if TYPE_CHECKING:
    from tests.servers.sftp import Sshd

# As proposed, with the indentation that the page lost. `files`, `sftp_conn`, `xml_encoding` and what is done with each
# result are the reader's. Airflow's release notes have the second one too.
WITHOUT_POOL = """
    @task(show_return_value_in_logs=False)
    async def load_xml_files(files):
        import asyncio
        import logging
        from io import BytesIO
        from more_itertools import chunked
        from os import cpu_count
        from tenacity import retry, stop_after_attempt, wait_fixed

        from airflow.providers.sftp.hooks.sftp import SFTPHookAsync

        logging.info("number of files: %d", len(files))

        @retry(stop=stop_after_attempt(3), wait=wait_fixed(5))
        async def download_file(file):
            logging.debug("downloading: %s", file)
            buffer = BytesIO()
            ssh_conn = await SFTPHookAsync(sftp_conn_id=sftp_conn)._get_conn()
            async with ssh_conn.start_sftp_client() as sftp:
                async with sftp.open(file, encoding=xml_encoding) as remote_file:
                    data = await remote_file.read()
                    buffer.write(data.encode(xml_encoding))
                    buffer.seek(0)
                return buffer

        for batch in chunked(files, cpu_count() * 2):
            tasks = [asyncio.create_task(download_file(f)) for f in batch]

            # Wait for this batch to finish before starting the next
            for task in asyncio.as_completed(tasks):
                result = await task
                done(result)
"""

WITH_POOL = """
    @task(show_return_value_in_logs=False)
    async def load_xml_files(files):
        import asyncio
        import logging
        from io import BytesIO
        from more_itertools import chunked
        from os import cpu_count
        from tenacity import retry, stop_after_attempt, wait_fixed

        from airflow.providers.sftp.hooks.sftp import SFTPClientPool

        logging.info("number of files: %d", len(files))

        async with SFTPClientPool(sftp_conn_id=sftp_conn, pool_size=cpu_count()) as pool:
            @retry(stop=stop_after_attempt(3), wait=wait_fixed(5))
            async def download_file(file):
                async with pool.get_sftp_client() as sftp:
                    logging.debug("downloading: %s", file)
                    buffer = BytesIO()
                    async with sftp.open(file, encoding=xml_encoding) as remote_file:
                        data = await remote_file.read()
                        buffer.write(data.encode(xml_encoding))
                        buffer.seek(0)
                    return buffer

            for batch in chunked(files, cpu_count() * 2):
                tasks = [asyncio.create_task(download_file(f)) for f in batch]

                # Wait for this batch to finish before starting the next
                for task in asyncio.as_completed(tasks):
                    result = await task
                    done(result)
"""

CHANGES = {
    "@task(": "@task.async_python(",
    "from airflow.providers.sftp.hooks.sftp import SFTPHookAsync": (
        "from airflow_provider_async.sftp import AsyncSFTPHook as SFTPHookAsync"
    ),
    "from airflow.providers.sftp.hooks.sftp import SFTPClientPool": (
        "from airflow_provider_async.sftp import SFTPClientPool"
    ),
}


#: It closes none of its connections.
leaves_connections = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.mark.parametrize(
    "example",
    [pytest.param(WITHOUT_POOL, id="without a pool", marks=leaves_connections), pytest.param(WITH_POOL, id="with one")],
)
def test_a_proposed_example_runs_when_imports_and_decorator_are_changed(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, example: str
) -> None:
    code = textwrap.dedent(example)
    for theirs, ours in CHANGES.items():
        code = code.replace(theirs, ours)
    paths = write_files(sshd.files, 25)
    results: list[bytes] = []
    # The decorator as Airflow finds it through its entry point, where the package is installed.
    monkeypatch.setattr(task, "async_python", async_python_task, raising=False)
    names: dict[str, Any] = {
        "task": task,
        "sftp_conn": "sftp_documented",
        "xml_encoding": "utf-8",
        "done": lambda buffer: results.append(buffer.read()),
    }

    async def get_connection(conn_id: str) -> object:
        assert conn_id == "sftp_documented"
        return sshd.connection()

    monkeypatch.setattr("airflow_provider_async.runtime.connections.get_connection", get_connection)
    exec(compile(code, "documented example", "exec"), names)
    with DAG("documented", schedule=None) as dag:
        names["load_xml_files"](paths)

    operator: Any = dag.get_task("load_xml_files")
    operator.execute({})
    gc.collect()

    assert sorted(results) == sorted((sshd.files / path).read_bytes() for path in paths)
