# SPDX-License-Identifier: Apache-2.0
"""The example that Airflow documents for its own SFTPClientPool runs with another import line."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from tests.servers.sftp import write_files

if TYPE_CHECKING:
    import pytest

    from tests.servers.sftp import Sshd

#: From the release notes of Airflow 3.2.0, which leave `files`, `sftp_conn`, `xml_encoding` and what is done with each
#: result to the reader. The proposal that led there has it too, with its indentation lost.
DOCUMENTED = """
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


async def test_the_documented_example_runs_when_its_import_line_is_changed(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = "from airflow.providers.sftp.hooks.sftp import SFTPClientPool"
    assert theirs in DOCUMENTED
    code = DOCUMENTED.replace(theirs, "from airflow_provider_async.sftp import SFTPClientPool")
    paths = write_files(sshd.files, 25)
    results: list[bytes] = []
    names: dict[str, Any] = {
        "sftp_conn": "sftp_documented",
        "xml_encoding": "utf-8",
        "done": lambda buffer: results.append(buffer.read()),
    }

    async def get_connection(conn_id: str) -> object:
        assert conn_id == "sftp_documented"
        return sshd.connection()

    monkeypatch.setattr("airflow_provider_async.runtime.connections.get_connection", get_connection)
    exec(compile(textwrap.dedent(code), "documented example", "exec"), names)

    await names["load_xml_files"](paths)

    assert sorted(results) == sorted((sshd.files / path).read_bytes() for path in paths)
