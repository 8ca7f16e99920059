# SPDX-License-Identifier: Apache-2.0
"""A span of OpenTelemetry for each ``amap`` and each connection, and none for an item."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from airflow_provider_async.core.monitor import Observer

if TYPE_CHECKING:
    from types import ModuleType

    from opentelemetry.trace import Span

    from airflow_provider_async.core.monitor import Monitor, Work

__all__ = ["Spans"]

#: Of works that have begun and not ended: more at once have none, for a span takes memory.
_MOST_SPANS = 1000

_TRACER = "airflow_provider_async"


def _trace() -> ModuleType | None:
    # Whoever has set a provider has imported it.
    return sys.modules.get("opentelemetry.trace")


class Spans(Observer):
    """Spans by the tracer ``airflow_provider_async``; without a provider that exports them they cost nothing."""

    def __init__(self) -> None:
        self._spans: dict[Work, Span] = {}

    def work_began(self, work: Work) -> None:
        """Begin a span, inside of that of the work for one of whose items this one was made."""
        trace = _trace()
        if trace is None or len(self._spans) >= _MOST_SPANS:
            return
        outer = None if work.parent is None else self._spans.get(work.parent)
        context = None if outer is None else trace.set_span_in_context(outer)
        span = trace.get_tracer(_TRACER).start_span(f"amap {work.label}", context=context)
        if span.is_recording():
            self._spans[work] = span

    def work_ended(self, work: Work) -> None:
        """End its span, with its counts."""
        span = self._spans.pop(work, None)
        if span is None:
            return
        for name in ("done", "failed", "skipped", "resumed", "retries", "bytes"):
            span.set_attribute(f"async.{name}", getattr(work, name))
        if work.total is not None:
            span.set_attribute("async.total", work.total)
        span.end()

    def connection_opened(self, pool_name: str, seconds: float) -> None:
        """Record how long connecting took."""
        if (trace := _trace()) is not None:
            now = time.time_ns()
            began = now - int(seconds * 1e9)
            trace.get_tracer(_TRACER).start_span(f"connect {pool_name}", start_time=began).end(now)

    def close(self, monitor: Monitor) -> None:  # noqa: ARG002
        """End the spans of works that were left behind."""
        for work in [*self._spans]:
            self.work_ended(work)
