# SPDX-License-Identifier: Apache-2.0
"""SFTP: a hook and a pool for Airflow's ``sftp`` Connections. asyncssh is imported when they are first used."""

from __future__ import annotations

from airflow_provider_async.sftp.files import MovedFile, RemoteEntry, RemoteFile, TransferredFile
from airflow_provider_async.sftp.hook import AsyncSFTPHook
from airflow_provider_async.sftp.pool import SFTPClientPool

__all__ = ["AsyncSFTPHook", "MovedFile", "RemoteEntry", "RemoteFile", "SFTPClientPool", "TransferredFile"]
