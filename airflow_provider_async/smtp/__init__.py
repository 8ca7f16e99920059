# SPDX-License-Identifier: Apache-2.0
"""Mail over SMTP: a pool, its hook, and the messages that it sends."""

from airflow_provider_async.smtp.mail import Mail

__all__ = ["Mail"]
