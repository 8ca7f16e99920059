# SPDX-License-Identifier: Apache-2.0
"""
The tokens that a Graph server takes, and how Entra gives them to an application that has a secret.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_async.testing.msgraph.answers import GraphAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLIENT_ID", "SECRET", "TENANT", "Entra", "Tokens"]

TENANT = "contoso.onmicrosoft.com"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
SECRET = "s3cret~of~the~client"  # noqa: S105 - of no application that exists


class Tokens:
    """
    The tokens that Graph takes, and until when.

    :ivar lifetime_seconds: of those that are given from now on.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self.lifetime_seconds = 3600.0

    def issue(self) -> str:
        """Give one."""
        token = f"token-{next(self._numbers)}"
        self._until[token] = time.time() + self.lifetime_seconds
        return token

    def revoke(self) -> None:
        """Take no token any more that was given until now."""
        self._until.clear()

    def is_good(self, token: str | None) -> bool:
        """Tell whether a token is taken."""
        return token is not None and self._until.get(token, 0.0) > time.time()


@dataclass(kw_only=True)
class Entra:
    """
    Gives tokens of a Graph server to one application.

    :param tokens: those that Graph takes.
    :param asked: the forms by which tokens were asked for.
    :param faults: the next answers: a status, with which it fails.
    """

    tokens: Tokens
    asked: list[Mapping[str, str]] = field(default_factory=list, repr=False)
    faults: list[int] = field(default_factory=list)

    def give_token(self, tenant: str, form: Mapping[str, str], *, url: str) -> GraphAnswer:
        """
        Answer a request for a token.

        :param tenant: the directory of the application that asks.
        :param form: what it sends.
        :param url: where it sent that.
        """
        self.asked.append(form)
        if self.faults:
            status = self.faults.pop(0)
            return refusal("temporarily_unavailable", "AADSTS90033: A transient error has occurred.", status)
        if tenant != TENANT:
            return refusal("invalid_request", f"AADSTS90002: Tenant '{tenant}' not found.")
        if form.get("grant_type") != "client_credentials" or not form.get("scope", "").endswith("/.default"):
            return refusal("invalid_scope", "AADSTS1002012: The provided value for scope is not valid.")
        if form.get("client_id") != CLIENT_ID:
            return refusal("unauthorized_client", "AADSTS700016: Application was not found in the directory.")
        if not self.is_known(form, url):
            return refusal("invalid_client", "AADSTS7000215: Invalid client secret provided.", 401)
        lifetime_seconds = int(self.tokens.lifetime_seconds)
        body = {"token_type": "Bearer", "expires_in": lifetime_seconds, "access_token": self.tokens.issue()}
        return GraphAnswer(body=body)

    def is_known(self, form: Mapping[str, str], url: str) -> bool:  # noqa: ARG002 - what an assertion is made for
        """Tell whether an application has proved who it is."""
        return form.get("client_secret") == SECRET


def refusal(code: str, description: str, status: int = 400) -> GraphAnswer:
    """
    Return an answer with an error of Entra's.

    :param code: of OAuth.
    :param description: begins with Entra's own code.
    :param status: of HTTP.
    """
    number = description.partition(":")[0].removeprefix("AADSTS")
    body = {"error": code, "error_description": description, "error_codes": [int(number)], "correlation_id": "c0"}
    return GraphAnswer(status=status, body=body)
