# SPDX-License-Identifier: Apache-2.0
"""The link that a task's page has while there is progress to see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from airflow_provider_async.runtime.progress_page import progress_url

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ProgressLink(BaseOperatorLink):
    """
    Leads to the task's progress.

    Airflow stores the links of every task at its end. This one is stored by the task itself, with its first report:
    a task that has nothing to show has no link, and one that runs has it at once.
    """

    name = "Progress"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """
        Tell where the task's progress is shown.

        :param operator: the task
        :param ti_key: which of its instances
        :return: an address relative to Airflow's base URL
        """
        return progress_url(ti_key)
