# SPDX-License-Identifier: Apache-2.0
"""Whatever Graph does with the parts of batches, each request has its own answer or its own error, and runs once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import GraphError
from airflow_provider_async.msgraph import BatchRequest
from airflow_provider_async.testing.msgraph import RESET, GraphAnswer, error, throttled
from tests.msgraph.conftest import make_pool
from tests.msgraph.server import graph_server

if TYPE_CHECKING:
    from airflow_provider_async.core.amap import Outcome
    from airflow_provider_async.http.response import Response

#: What may happen to a part that is idempotent, and goes by with time.
PASSING = [throttled("0"), throttled(None), error(503, "serviceNotAvailable"), error(500, "generalException")]
REFUSED = [error(403, "Authorization_RequestDenied")]

RETRY = Retry(attempts=20, initial_seconds=0.001, max_seconds=0.002, budget_seconds=30)


class Plan:
    """
    One request: which of those before it it needs, and what happens to it.

    :param needs: numbers of requests, counted back from this one.
    :param faults: what it is answered first.
    """

    def __init__(self, needs: list[int], faults: list[GraphAnswer]) -> None:
        self.needs, self.faults = needs, faults

    def __repr__(self) -> str:
        return f"Plan({self.needs}, {[fault.status for fault in self.faults]})"


PLANS = st.lists(
    st.builds(
        Plan,
        st.lists(st.integers(1, 3), max_size=1),
        st.lists(st.sampled_from(PASSING), max_size=2).flatmap(
            lambda faults: st.sampled_from([faults, faults, [*faults, *REFUSED]])
        ),
    ),
    max_size=45,
)

BATCH_FAULTS = st.lists(st.sampled_from([None, None, RESET, throttled("0"), error(502, "badGateway")]), max_size=6)


@given(plans=PLANS, batch_faults=BATCH_FAULTS, ordered=st.booleans(), limit=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_each_request_has_its_own_answer_or_error(
    plans: list[Plan], batch_faults: list[GraphAnswer | None], ordered: bool, limit: int
) -> None:
    async def main() -> None:
        requests: list[BatchRequest] = []
        async with graph_server() as server, make_pool(server, retry=RETRY) as pool:
            server.fail("/$batch", *batch_faults)
            for number, plan in enumerate(plans):
                server.collections["users"].append({"id": f"u{number}", "number": number})
                server.fail(f"/users/u{number}", *plan.faults)
                # Chains are cut before they are too long for a batch.
                needs = [requests[number - back] for back in plan.needs if back <= number % 10]
                requests.append(BatchRequest("GET", f"users/u{number}", depends_on=needs))
            async with asyncio.timeout(40):
                outcomes = [one async for one in pool.batch(requests, ordered=ordered, limit=limit).outcomes()]
            check(requests, plans, outcomes)
            assert all(len(batch) <= 20 for batch in server.batches)

    asyncio.run(main())


def check(requests: list[BatchRequest], plans: list[Plan], outcomes: list[Outcome[Any, Response]]) -> None:
    found = {outcome.item: outcome for outcome in outcomes}
    assert len(outcomes) == len(requests)
    failed: set[BatchRequest] = set()
    for number, (request, plan) in enumerate(zip(requests, plans, strict=True)):
        outcome = found[request]
        if any(needed in failed for needed in request.depends_on):
            assert isinstance(outcome.error, GraphError)
            assert outcome.error.status == 424
            failed.add(request)
        elif plan.faults[-1:] == REFUSED:
            assert isinstance(outcome.error, GraphError)
            assert outcome.error.status == 403
            failed.add(request)
        else:
            assert outcome.error is None
            assert outcome.value is not None
            assert outcome.value.json()["number"] == number
