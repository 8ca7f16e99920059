# SPDX-License-Identifier: Apache-2.0
"""Microsoft Graph: a hook and a pool for Airflow's ``msgraph`` Connections."""

from __future__ import annotations

from airflow_provider_async.msgraph.batch_request import BatchRequest
from airflow_provider_async.msgraph.change import Change
from airflow_provider_async.msgraph.client import MSGraphClient
from airflow_provider_async.msgraph.delta import Delta
from airflow_provider_async.msgraph.drive_item import DriveItem
from airflow_provider_async.msgraph.hook import AsyncMSGraphHook
from airflow_provider_async.msgraph.pool import MSGraphClientPool

__all__ = ["AsyncMSGraphHook", "BatchRequest", "Change", "Delta", "DriveItem", "MSGraphClient", "MSGraphClientPool"]
