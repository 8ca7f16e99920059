# SPDX-License-Identifier: Apache-2.0
"""What the tests of shards and their DAG agree on."""

from __future__ import annotations

#: Which of the mapped tasks fails at first, and after how many files.
FAILS_AT = 1
FAILS_AFTER = 200
BATCH_SIZE = 50
