# SPDX-License-Identifier: Apache-2.0
"""
What Entra does: tokens for a secret, a certificate, a workload's or a machine's identity.

https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow; for machines, the endpoint of App
Service: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference.
"""

from __future__ import annotations

import base64
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from airflow_provider_async.testing.certificates import certify, server_context
from airflow_provider_async.testing.msgraph.server import send
from airflow_provider_async.testing.msgraph.tokens import CLIENT_ID, SECRET, TENANT, Entra

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from airflow_provider_async.testing.msgraph import Tokens

__all__ = ["CLIENT_ID", "SECRET", "TENANT", "Certificate", "FullEntra", "entra_server"]

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Certificate:
    """
    A certificate of its own making, with its key.

    :param pem: both, as files of PEM have them.
    """

    pem: bytes
    key: rsa.RSAPrivateKey

    @classmethod
    def make(cls, *, password: str | None = None) -> Certificate:
        """Make one for the loopback."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password.encode())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        return cls(private + certify(key), key)

    def context(self, folder: Path) -> ssl.SSLContext:
        """Return what a server shows this certificate with."""
        return server_context(Path(self.write(folder)))

    def write(self, folder: Path) -> str:
        path = folder / "certificate.pem"
        path.write_bytes(self.pem)
        return str(path)

    def has_signed(self, token: str) -> bool:
        """Tell whether a JSON web token was signed with the key (RFC 7515)."""
        signed, _, signature = token.rpartition(".")
        algorithm = json.loads(_decode(token.partition(".")[0]))["alg"]
        scheme = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if algorithm == "PS256" else padding.PKCS1v15()
        try:
            self.key.public_key().verify(_decode(signature), signed.encode(), scheme, hashes.SHA256())
        except InvalidSignature:
            return False
        return True


@dataclass(kw_only=True)
class FullEntra(Entra):
    """
    Gives tokens of a Graph server to whatever can prove who it is.

    :param certificate: what signs the client's assertions.
    :param assertion: what a workload shows, which is the same in a federated credential.
    :param gate: if set, answers wait for it.
    """

    discovered: list[str] = field(default_factory=list)
    certificate: Certificate | None = None
    assertion: str | None = None
    identity_header: str = "header of the machine"
    gate: asyncio.Event | None = None
    port: int = 0
    scheme: str = "https"

    @property
    def authority(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        answer = self.give_token(request.match_info["tenant"], form, url=f"{self.authority}{request.path}")
        if self.gate is not None:
            await self.gate.wait()
        return await send(request, answer)

    def is_known(self, form: Mapping[str, str], url: str) -> bool:
        if "client_assertion" not in form:
            return super().is_known(form, url)
        assertion = form["client_assertion"]
        if form.get("client_assertion_type") != ASSERTION:
            return False
        if assertion == self.assertion:
            return True
        if self.certificate is None or not self.certificate.has_signed(assertion):
            return False
        claims = json.loads(_decode(assertion.split(".")[1]))
        return bool(
            claims["iss"] == claims["sub"] == CLIENT_ID and claims["aud"] == url and claims["exp"] > time.time()
        )

    async def machine_token(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        self.asked.append(query)
        if request.headers.get("X-IDENTITY-HEADER") != self.identity_header:
            return web.json_response({"statusCode": 400, "message": "no such identity"}, status=400)
        body = {
            "access_token": self.tokens.issue(),
            "expires_on": str(int(time.time() + self.tokens.lifetime_seconds)),
            "resource": query["resource"],
            "token_type": "Bearer",
        }
        return web.json_response(body)

    async def instance(self, request: web.Request) -> web.Response:
        """Answer as https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc has it."""
        self.discovered.append(request.path)
        endpoint = f"{self.authority}/{TENANT}/v2.0/.well-known/openid-configuration"
        host = f"127.0.0.1:{self.port}"
        alias = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        return web.json_response({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [alias]})

    async def configuration(self, request: web.Request) -> web.Response:
        self.discovered.append(request.path)
        tenant = f"{self.authority}/{request.match_info['tenant']}"
        body: dict[str, Any] = {"issuer": f"{tenant}/v2.0"}
        body |= {
            f"{name}_endpoint": f"{tenant}/oauth2/v2.0/{name.replace('_', '')}"
            for name in ("token", "device_authorization")
        }
        body |= {"authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize"}
        return web.json_response(body)


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@asynccontextmanager
async def entra_server(tokens: Tokens, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[FullEntra]:
    """Run a server that gives tokens."""
    entra = FullEntra(tokens=tokens, scheme="http" if tls is None else "https")
    app = web.Application()
    app.router.add_post("/{tenant}/oauth2/v2.0/token", entra.token)
    app.router.add_get("/msi/token", entra.machine_token)
    app.router.add_get("/common/discovery/instance", entra.instance)
    app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", entra.configuration)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    entra.port = runner.addresses[0][1]
    try:
        yield entra
    finally:
        await runner.cleanup()
