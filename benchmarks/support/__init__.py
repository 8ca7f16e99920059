# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a server and its files, a line with a delay, clients, and what is made of times."""
