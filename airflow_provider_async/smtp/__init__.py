# SPDX-License-Identifier: Apache-2.0
"""SMTP: a hook and a pool for Airflow's ``smtp`` Connections. aiosmtplib is imported when they are first used."""

from __future__ import annotations

from airflow_provider_async.smtp.hook import AsyncSMTPHook
from airflow_provider_async.smtp.mail import Mail
from airflow_provider_async.smtp.message import Attachment, Message
from airflow_provider_async.smtp.pool import SMTPClientPool
from airflow_provider_async.smtp.results import Refusal, SendReport, SendResult

__all__ = ["AsyncSMTPHook", "Attachment", "Mail", "Message", "Refusal", "SMTPClientPool", "SendReport", "SendResult"]
