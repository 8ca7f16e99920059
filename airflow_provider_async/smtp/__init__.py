# SPDX-License-Identifier: Apache-2.0
"""Mail over SMTP: a pool, its hook, and the messages that it sends."""

from __future__ import annotations

from airflow_provider_async.smtp.mail import Mail
from airflow_provider_async.smtp.message import Attachment, Message

__all__ = ["Attachment", "Mail", "Message"]
