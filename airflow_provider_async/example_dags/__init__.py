# SPDX-License-Identifier: Apache-2.0
"""The examples that the docs show, and the demo that runs one of them."""

from __future__ import annotations
