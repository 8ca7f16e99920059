# SPDX-License-Identifier: Apache-2.0
"""Download all files of a folder in OneDrive or SharePoint, ten thousand or more, each compared by its hash."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider_async.msgraph import MSGraphClientPool


@dag(
    schedule=None,
    params={"url": "me/drive/root/children", "folder": "files"},
    tags=["example", "msgraph"],
)
def download_drive() -> None:
    """List the items page by page, and download 32 at a time while the listing goes on."""

    @task.async_python(retries=3, retry_delay=timedelta(seconds=10))
    async def download(url: str, folder: str) -> int:
        async with MSGraphClientPool("msgraph_default", max_concurrency=32) as pool:
            rows = pool.paginate(url, params={"$top": 200})
            # Folders among the items have no content. The next try leaves out the files that are here.
            sources = (row async for row in rows if isinstance(row, dict) and "file" in row)
            files = pool.download_many(sources, folder, resume="download")
            async for _ in files:
                pass
            return files.progress.done

    download("{{ params.url }}", "{{ params.folder }}")


download_drive()
