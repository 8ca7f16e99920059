# SPDX-License-Identifier: Apache-2.0
"""Templates of messages, with Airflow and without."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import jinja2
import pytest

from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.runtime import compat
from airflow_provider_async.smtp.compose import Composer
from airflow_provider_async.smtp.mail import Mail
from airflow_provider_async.smtp.message import Attachment, Message
from airflow_provider_async.smtp.templates import Renderer
from tests.smtp.reading import body, message, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "base.html").write_text("<h1>{% block title %}{% endblock %}</h1>")
    (folder / "news.html").write_text('{% extends "base.html" %}{% block title %}Hi {{ name }}, {{ ds }}{% endblock %}')
    (folder / "news.txt").write_text("Hi {{ name }}, {{ ds }}")
    return folder


def environment(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined)


async def test_a_message_without_a_context_is_sent_as_it_is() -> None:
    raw = message(subject="{{ x }}", text="{% x", html="news.html")
    assert await Renderer().render(raw) is raw


async def test_texts_are_templates() -> None:
    rendered = await Renderer().render(
        message(
            subject="Hi {{ name }}\n",
            text="{{ name }}",
            html="<p>{{ name }}{{ mark | safe }}</p>",
            unsubscribe="https://example.com/u?id={{ number }}",
            context={"name": "R&D", "mark": "<br>", "number": 7},
        )
    )
    assert (rendered.subject, rendered.text, rendered.html) == ("Hi R&D", "R&D", "<p>R&amp;D<br></p>")
    assert rendered.unsubscribe == ["https://example.com/u?id=7"]
    assert await Renderer().render(rendered) is rendered


async def test_files_are_templates(folder: Path) -> None:
    renderer = Renderer(environment=environment(folder), context={"ds": "2026-11-26", "name": "all"})
    made = message(text="news.txt", html="news.html", context={"name": "R&D"})
    rendered = await renderer.render(made)
    assert rendered.text == "Hi R&D, 2026-11-26"
    assert rendered.html == "<h1>Hi R&amp;D, 2026-11-26</h1>"
    # A sentence is none.
    assert (await renderer.render(message(text="See news.txt", context={}))).text == "See news.txt"


async def test_a_changed_file_is_read_again_and_others_are_compiled_once(folder: Path) -> None:
    read_files = []

    class Loader(jinja2.FileSystemLoader):
        def get_source(self, environment: jinja2.Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
            read_files.append(template)
            return super().get_source(environment, template)

    renderer = Renderer(environment=jinja2.Environment(loader=Loader(folder), cache_size=0))
    for name in ("a", "b", "c"):
        await renderer.render(message(text="news.txt", context={"name": name, "ds": ""}))
    assert read_files == ["news.txt"]


async def test_the_key_of_a_message_is_that_of_its_template() -> None:
    made = message(subject="{{ now }}", context={"now": "12:00"})
    rendered = await Renderer().render(made)
    assert rendered.key == made.resume_key
    ids = {
        (await Composer().compose(message(subject="{{ now }}", context={"now": now}), "a")).message_id for now in "12"
    }
    assert len(ids) == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"subject": "{{ x }}"}, r"subject of the message '{{ x }}' cannot be rendered: 'x' is undefined"),
        ({"text": "{% x"}, "text of the message 'News' cannot be rendered: Encountered unknown tag 'x'"),
        ({"html": "no.html"}, "html of the message 'News' cannot be rendered: .*no.html"),
        ({"html": "{% include 'no.html' %}"}, "html of the message 'News' cannot be rendered: "),
        ({"subject": "a{{ '\\n' }}b"}, "subject has a control character"),
        ({"unsubscribe": "https://x.org/{{ 'a b' }}"}, "unsubscribe must be"),
    ],
)
async def test_what_cannot_be_rendered_is_refused(folder: Path, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidMessage, match=problem):
        await Composer(environment=environment(folder)).compose(message(context={}, **fields))


async def test_without_an_environment_files_are_not_found() -> None:
    with pytest.raises(InvalidMessage, match=r"cannot be rendered: news\.html"):
        await Renderer().render(message(html="news.html", context={}))


async def test_others_run_while_a_long_message_is_rendered() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def wait() -> str:
        time.sleep(0.002)
        return ""

    other = asyncio.create_task(take_turns())
    template = "{% for x in range(30) %}{{ wait() }}{% endfor %}"
    rendered = await Renderer().render(message(text=template, context={"wait": wait}))
    other.cancel()
    assert rendered.text == ""
    assert turns >= 5


async def test_others_run_between_many_short_messages() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    composer = Composer()
    for _ in range(10):
        time.sleep(0.006)  # noqa: ASYNC251 - work that keeps the loop
        await composer.compose(message())
    other.cancel()
    assert turns >= 10


async def test_large_bodies_and_files_are_worked_on_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    in_threads = []

    async def to_thread(function: Callable[..., Mail], made: Message, **keywords: Any) -> Mail:  # noqa: ANN401
        in_threads.append(made)
        return function(made, **keywords)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    composer = Composer()
    await composer.compose(message())
    assert in_threads == []
    for large in (message(text="x" * 100_000), message(attachments=[Attachment(b"x", name="x")])):
        assert isinstance(await composer.compose(large), Mail)
        assert in_threads.pop() is large


async def test_a_mail_is_left_as_it_is() -> None:
    composer = Composer(from_email="shop@example.org")
    mail = await composer.compose(message(from_=None))
    assert mail.sender == "shop@example.org"
    assert await composer.compose(mail) is mail


@pytest.mark.parametrize("native", [False, True])
async def test_in_a_task_templates_are_those_of_its_dag(folder: Path, tmp_path: Path, native: bool) -> None:
    from airflow.sdk import DAG

    dag = DAG(
        "news",
        schedule=None,
        template_searchpath=str(folder),
        user_defined_macros={"shout": str.upper},
        user_defined_filters={"twice": lambda value: value * 2},
        render_template_as_native_obj=native,
    )
    context = {"dag": dag, "ds": "2026-11-26", "params": {"name": "task"}}
    composer = Composer(context=context)
    values = {"name": "R&D"}
    mail = await composer.compose(
        message(subject="{{ 1 }}", html="news.html", text="{{ params.name | twice }} {{ shout('x') }}", context=values)
    )
    parsed = read(mail)
    assert parsed["Subject"] == "1"
    assert body(parsed, "html").strip() == "<h1>Hi R&amp;D, 2026-11-26</h1>"
    assert body(parsed, "plain").strip() == "tasktask X"


async def test_the_running_task_gives_its_context(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import sdk

    assert compat.current_context() is None
    with pytest.raises(InvalidMessage, match="'ds' is undefined"):
        await Renderer().render(message(text="{{ ds }}", context={}))
    monkeypatch.setattr(sdk, "get_current_context", lambda: {"ds": "2026-11-26", "dag": sdk.DAG("news", schedule=None)})
    assert (await Renderer().render(message(text="{{ ds }}", context={}))).text == "2026-11-26"
