# SPDX-License-Identifier: Apache-2.0
"""Microsoft Graph: pages, deltas, batches and files, over the HTTP pool."""
