# SPDX-License-Identifier: Apache-2.0
"""
The four approaches of AIP-98 and this package's own, as DAGs that read the same files of an SFTP server.

The proposal's code is kept, but for types, what the page broke, and the connections that it leaves open without a pool:
the server would have one for each file. Each task writes what it did and how long its loop took.
"""

from __future__ import annotations

import json
import os
import time
from io import BytesIO
from pathlib import Path

from airflow.providers.sftp.operators.sftp import SFTPOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import dag, task

FOLDER = Path(os.environ["BENCHMARK_FOLDER"])
RESULTS = Path(os.environ["BENCHMARK_RESULTS"])
#: How many of the files each approach gets.
EXTENT: dict[str, int] = json.loads(os.environ["BENCHMARK_EXTENT"])

sftp_conn = "bench"
xml_encoding = "utf-8"


def files_for(approach: str) -> list[str]:
    """Name the first files; the server reads the same disk."""
    return sorted(str(path) for path in FOLDER.iterdir())[: EXTENT[approach]]


def write_result(approach: str, *, files: int, size: int, began: float) -> None:
    result = {"files": files, "bytes": size, "seconds": time.monotonic() - began}
    (RESULTS / f"{approach}.json").write_text(json.dumps(result))


@dag(schedule=None)
def mapped_operator() -> None:
    names = [{"remote_filepath": path, "local_filepath": f"{RESULTS}{path}"} for path in files_for("mapped_operator")]
    SFTPOperator.partial(
        task_id="download", ssh_conn_id=sftp_conn, operation="get", create_intermediate_dirs=True
    ).expand_kwargs(names)


@dag(schedule=None)
def sync_loop() -> None:
    def load_xml_files() -> None:
        from airflow.providers.sftp.hooks.sftp import SFTPHook

        began = time.monotonic()
        files, size = files_for("sync_loop"), 0
        hook = SFTPHook(ssh_conn_id=sftp_conn)
        for file in files:
            buffer = BytesIO()
            hook.retrieve_file(file, buffer)
            size += len(buffer.getvalue())
        write_result("sync_loop", files=len(files), size=size, began=began)

    PythonOperator(task_id="load_xml_files", python_callable=load_xml_files)


@dag(schedule=None)
def async_without_pool() -> None:
    @task(show_return_value_in_logs=False)
    async def load_xml_files() -> None:
        import asyncio
        from os import cpu_count

        from airflow.providers.sftp.hooks.sftp import SFTPHookAsync
        from more_itertools import chunked
        from tenacity import retry, stop_after_attempt, wait_fixed

        began = time.monotonic()
        files, size = files_for("async_without_pool"), 0

        @retry(stop=stop_after_attempt(3), wait=wait_fixed(5))
        async def download_file(file: str) -> BytesIO:
            buffer = BytesIO()
            ssh_conn = await SFTPHookAsync(sftp_conn_id=sftp_conn)._get_conn()  # noqa: SLF001 - so says the proposal
            async with (
                ssh_conn,
                ssh_conn.start_sftp_client() as sftp,
                sftp.open(file, encoding=xml_encoding) as remote_file,
            ):
                data = await remote_file.read()
                buffer.write(data.encode(xml_encoding))
                buffer.seek(0)
            return buffer

        for batch in chunked(files, (cpu_count() or 1) * 2):
            tasks = [asyncio.create_task(download_file(f)) for f in batch]

            # Wait for this batch to finish before starting the next
            for download in asyncio.as_completed(tasks):
                result = await download
                size += len(result.getvalue())
        write_result("async_without_pool", files=len(files), size=size, began=began)

    load_xml_files()


@dag(schedule=None)
def airflow_pool() -> None:
    @task(show_return_value_in_logs=False)
    async def load_xml_files() -> None:
        import asyncio
        from os import cpu_count

        from airflow.providers.sftp.pools.sftp import SFTPClientPool
        from more_itertools import chunked
        from tenacity import retry, stop_after_attempt, wait_fixed

        began = time.monotonic()
        files, size = files_for("airflow_pool"), 0

        async with SFTPClientPool(sftp_conn_id=sftp_conn, pool_size=cpu_count()) as pool:

            @retry(stop=stop_after_attempt(3), wait=wait_fixed(5))
            async def download_file(file: str) -> BytesIO:
                async with pool.get_sftp_client() as sftp:
                    buffer = BytesIO()
                    async with sftp.open(file, encoding=xml_encoding) as remote_file:
                        data = await remote_file.read()
                        buffer.write(data.encode(xml_encoding))
                        buffer.seek(0)
                    return buffer

            for batch in chunked(files, (cpu_count() or 1) * 2):
                tasks = [asyncio.create_task(download_file(f)) for f in batch]

                # Wait for this batch to finish before starting the next
                for download in asyncio.as_completed(tasks):
                    result = await download
                    size += len(result.getvalue())
        write_result("airflow_pool", files=len(files), size=size, began=began)

    load_xml_files()


@dag(schedule=None)
def our_pool() -> None:
    @task.async_python
    async def load_xml_files() -> None:
        from airflow_provider_async.sftp import SFTPClientPool

        began = time.monotonic()
        files, size = files_for("our_pool"), 0
        async with SFTPClientPool(sftp_conn, pool_size=os.cpu_count()) as pool:
            async for file in pool.read_many(files):
                size += len(file.data)
        write_result("our_pool", files=len(files), size=size, began=began)

    load_xml_files()


mapped_operator()
sync_loop()
async_without_pool()
airflow_pool()
our_pool()
