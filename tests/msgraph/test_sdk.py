# SPDX-License-Identifier: Apache-2.0
"""msgraph-sdk: its requests and models are taken, and its own client passes against the server too."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from kiota_abstractions.authentication.anonymous_authentication_provider import AnonymousAuthenticationProvider
from kiota_abstractions.authentication.authentication_provider import AuthenticationProvider
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphRequestAdapter, GraphServiceClient
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.models.user import User
from msgraph.generated.users.item.user_item_request_builder import UserItemRequestBuilder
from msgraph.generated.users.users_request_builder import UsersRequestBuilder

from airflow_provider_async.errors import GraphError
from airflow_provider_async.testing.msgraph import Paging, throttled
from tests.msgraph.server import make_users

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kiota_abstractions.request_information import RequestInformation

    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer

# Of kiota and of the SDK.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SELECTED = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(select=["id", "displayName"], top=10)


@dataclass
class Authentication(AuthenticationProvider):
    """What azure-identity is for otherwise, which this client uses over TLS alone."""

    server: GraphServer

    async def authenticate_request(self, request: RequestInformation, *_: object, **__: object) -> None:
        request.headers.try_add("Authorization", f"Bearer {self.server.tokens.issue()}")


@asynccontextmanager
async def sdk_client(server: GraphServer) -> AsyncIterator[GraphServiceClient]:
    adapter = GraphRequestAdapter(Authentication(server))
    adapter.base_url = server.url
    yield GraphServiceClient(request_adapter=adapter)
    # Its transport closes nothing, unlike the one beneath.
    await adapter._http_client._transport.transport.aclose()


def builder() -> GraphServiceClient:
    """A client that only makes requests, for the global cloud."""
    adapter = GraphRequestAdapter(AnonymousAuthenticationProvider())
    return GraphServiceClient(request_adapter=adapter)


async def test_a_request_information_stands_for_a_url(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    client = builder()
    request = client.users.to_get_request_information(RequestConfiguration(query_parameters=SELECTED))
    body = await pool.get(request)
    assert body["value"] == [{"id": user["id"], "displayName": user["displayName"]} for user in make_users(10)]
    assert server.seen[0].query == {"$select": "id,displayName", "$top": "10"}
    assert server.seen[0].headers["accept"] == "application/json"
    assert await pool.get(client.me.to_get_request_information()) == make_users(1)[0]
    made = User(display_name="Ada", user_principal_name="ada@contoso.com")
    post = client.users.to_post_request_information(made)
    user = await pool.post(post, as_model=User)
    assert (user.display_name, user.user_principal_name) == ("Ada", "ada@contoso.com")
    item = client.users.by_user_id(user.id or "")
    await pool.patch(item.to_patch_request_information(User(job_title="Countess")))
    assert (await pool.get(item.to_get_request_information(), as_model=User)).job_title == "Countess"
    await pool.delete(item.to_delete_request_information())
    with pytest.raises(GraphError):
        await pool.get(item.to_get_request_information())
    with pytest.raises(ValueError, match="the RequestInformation is one of POST, not of GET"):
        await pool.get(post)
    with pytest.raises(TypeError, match="a URL is a text or a RequestInformation of msgraph-sdk, not of type int"):
        await pool.get(3)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="as_model must be a model of msgraph-sdk"):
        await pool.get("me", as_model=dict)  # type: ignore[type-var]


async def test_pages_are_read_into_models(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10)
    request = builder().users.to_get_request_information()
    names = [user.display_name async for user in pool.paginate(request, as_model=User)]
    assert names == [f"User {number}" for number in range(25)]
    server.collections["groups"][0]["id"] = "g"
    tag = {"@odata.type": "#microsoft.graph.user"}
    server.collection("groups/g/members", [tag | user for user in make_users(2)])
    from msgraph.generated.models.directory_object import DirectoryObject

    members = [member async for member in pool.paginate("groups/g/members", as_model=DirectoryObject)]
    assert [type(member) for member in members] == [User, User]


async def test_the_sdks_own_client_passes_against_the_server(server: GraphServer) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10)
    async with sdk_client(server) as client:
        page = await client.users.get(RequestConfiguration(query_parameters=SELECTED))
        assert page is not None
        assert page.value is not None
        names = [user.display_name for user in page.value]
        while page is not None and page.odata_next_link:
            page = await client.users.with_url(page.odata_next_link).get()
            names += [user.display_name for user in page.value]
        assert names == [f"User {number}" for number in range(25)]
        made = await client.users.post(User(display_name="Ada", user_principal_name="ada@contoso.com"))
        assert made is not None
        item = client.users.by_user_id(made.id or "")
        await item.patch(User(job_title="Countess"))
        selected = UserItemRequestBuilder.UserItemRequestBuilderGetQueryParameters(select=["jobTitle"])
        user = await item.get(RequestConfiguration(query_parameters=selected))
        assert user is not None
        assert user.job_title == "Countess"
        await item.delete()
        with pytest.raises(ODataError) as caught:
            await item.get()
        assert caught.value.error is not None
        assert caught.value.error.code == "Request_ResourceNotFound"
        server.fail("/me", throttled("0"))
        me = await client.me.get()
        assert me is not None
        assert me.id == make_users(1)[0]["id"]
        search = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(search='"displayName:User 2"', count=True)
        configuration = RequestConfiguration(query_parameters=search)
        configuration.headers.add("ConsistencyLevel", "eventual")
        found = await client.users.get(configuration)
        assert found is not None
        assert found.odata_count == 6


def test_the_sdk_is_imported_only_when_it_is_used() -> None:
    code = (
        "import sys, airflow_provider_async.msgraph as msgraph; msgraph.MSGraphClientPool('x');"
        "msgraph.AsyncMSGraphHook('y'); "
        "print(sorted({'aiohttp', 'airflow', 'azure', 'kiota_abstractions', 'msgraph', 'tenacity'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_requests_without_models_do_without_the_sdk(server: GraphServer) -> None:
    code = (
        "import asyncio, sys\n"
        "sys.path.insert(0, '.')\n"
        "from tests.msgraph.conftest import Fields, FakeCredential\n"
        "from airflow_provider_async.testing.msgraph import Tokens\n"
        "from airflow_provider_async.msgraph import MSGraphClientPool\n"
        "async def main():\n"
        f"    fields = Fields(host='127.0.0.1:{server.port}', schema='http')\n"
        "    async with MSGraphClientPool(connection=fields, credential=FakeCredential(Tokens())) as pool:\n"
        "        print([user['displayName'] async for user in pool.paginate('users')])\n"
        "asyncio.run(main())\n"
        "print(sorted({'kiota_abstractions', 'kiota_http', 'msgraph'} & set(sys.modules)))\n"
    )
    server.needs_token = False
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().splitlines() == [str([f"User {number}" for number in range(5)]), "[]"]
