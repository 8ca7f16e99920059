# SPDX-License-Identifier: Apache-2.0
"""
How much longer `import airflow_provider_async` takes than `import asyncio`.

Each import runs in a fresh interpreter, the two in turn, and the medians are compared: of CPU time, since an import
waits for nothing and other work on the machine must not count. Fails above 50 ms.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 25
LIMIT_MILLISECONDS = 50.0

MEASURE = """
import time
started = time.process_time()
import {module}
print((time.process_time() - started) * 1e3)
"""


def import_milliseconds(module: str) -> float:
    """Import a module in a fresh interpreter, and return the milliseconds of CPU that took."""
    command = [sys.executable, "-c", MEASURE.format(module=module)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> int:
    """Measure, print, and return an exit code."""
    modules = ["asyncio", "airflow_provider_async"]
    for module in modules:
        import_milliseconds(module)  # the first writes the byte code
    times: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(RUNS):
        for module in modules:
            times[module].append(import_milliseconds(module))
    bare, ours = (statistics.median(times[module]) for module in modules)
    print(f"import asyncio                 {bare:6.1f} ms")
    print(f"import airflow_provider_async  {ours:6.1f} ms, {ours - bare:.1f} ms more (limit {LIMIT_MILLISECONDS:.0f})")
    return 0 if ours - bare < LIMIT_MILLISECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
