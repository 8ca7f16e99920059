# SPDX-License-Identifier: Apache-2.0
"""HTTP servers that nobody here wrote, on the loopback: each a process of its own, with rows to be read in pages."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.sftp import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parent.parent.parent

#: What ``scripts/http_servers.py`` installs.
INSTALLED = ROOT / ".venvs" / "http-servers"
DATASETTE = INSTALLED / "bin" / "datasette"
NODE = INSTALLED / "bin" / "node"

START_SECONDS = 120
STOP_SECONDS = 10

_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


@contextmanager
def _process(
    command: Sequence[str | Path], folder: Path, *, ready: str, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """
    Run a server until the block ends.

    :param folder: where it runs, and its log lies.
    :param ready: a URL; the server has started when that answers, with any status.
    """
    log = folder / "log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    with log.open("wb") as output, contextlib.ExitStack() as stack:
        process = subprocess.Popen(
            command, cwd=folder, env=inherited | dict(environment or {}), stdout=output, stderr=subprocess.STDOUT
        )
        stack.callback(_stop, process)
        give_up_at = time.monotonic() + START_SECONDS
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise AssertionError(f"{command[0]} did not start: {log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        yield


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def _send(
    method: str,
    url: str,
    *,
    data: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> tuple[Mapping[str, str], bytes]:
    request = urllib.request.Request(url, data=data, headers=dict(headers or {}), method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.headers, response.read()


@contextmanager
def datasette(program: str, folder: Path, *, rows: int) -> Iterator[str]:
    """
    Serve a table of so many rows, whose column ``id`` counts up from 1, 100 rows a page by default.

    :return: the table's URL; pages are linked in the header ``Link``, in ``next_url`` and by ``_next``.
    """
    with contextlib.closing(sqlite3.connect(folder / "data.db")) as database:
        database.execute("create table rows (id integer primary key, name text)")
        database.executemany("insert into rows values (?, ?)", ((n, f"row {n}") for n in range(1, rows + 1)))
        database.commit()
    port = free_port()
    command = [program, "serve", "data.db", "--host", "127.0.0.1", "--port", str(port)]
    with _process(command, folder, ready=f"http://127.0.0.1:{port}/-/versions.json"):
        yield f"http://127.0.0.1:{port}/data/rows.json"


@contextmanager
def docker_registry(program: str, folder: Path, *, repositories: int) -> Iterator[str]:
    """
    Serve so many repositories, rows/0000 and so on, each with a small manifest under the tag ``latest``.

    :return: the URL of the list of repositories; it has ``n=`` and relative links in the header ``Link``.
    """
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    # YAML is what it reads, of which JSON is a part.
    (folder / "config.yml").write_text(json.dumps(config))
    blob = b"{}"
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    image = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(blob), "digest": digest}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST_TYPE, "config": image, "layers": []})
    with _process([program, "serve", "config.yml"], folder, ready=f"{base}/v2/"):
        for number in range(repositories):
            repository = f"{base}/v2/rows/{number:04}"
            headers, _ = _send("POST", f"{repository}/blobs/uploads/")
            octets = {"Content-Type": "application/octet-stream"}
            _send("PUT", f"{headers['Location']}&digest={digest}", data=blob, headers=octets)
            kind = {"Content-Type": _MANIFEST_TYPE}
            _send("PUT", f"{repository}/manifests/latest", data=manifest.encode(), headers=kind)
        yield f"{base}/v2/_catalog"


@contextmanager
def json_server(node: str, folder: Path, *, rows: int, limit: int, window_seconds: float) -> Iterator[str]:
    """
    Serve so many rows with json-server, and so many requests in each window with express-rate-limit.

    :return: the list's URL; it has ``_page`` and ``_limit``, links in the header ``Link``, ``X-Total-Count``, the
        structured headers of draft 8, and 429 with ``Retry-After``.
    """
    content = {"rows": [{"id": number, "name": f"row {number}"} for number in range(1, rows + 1)]}
    (folder / "data.json").write_text(json.dumps(content))
    port = free_port()
    script = str(ROOT / "tests" / "servers" / "json_server.cjs")
    command = [node, script, str(port), "data.json", str(limit), str(int(window_seconds * 1000))]
    environment = {"NODE_PATH": str(INSTALLED / "node_modules")}
    with _process(command, folder, ready=f"http://127.0.0.1:{port}/db", environment=environment):
        yield f"http://127.0.0.1:{port}/rows"


@contextmanager
def nginx(
    program: str,
    folder: Path,
    *,
    pages: Mapping[str, bytes],
    rate: int = 0,
    burst: int = 0,
    status: int = 503,
    locations: str = "",
) -> Iterator[str]:
    """
    Serve files of JSON from a folder.

    :param pages: their contents by name.
    :param rate: requests a second that are let through; without a limit by default.
    :param burst: how many more are let through at once.
    :param status: what others get.
    :param locations: lines for the configuration of the server; the files lie in its root.
    :return: the URL of the folder.
    """
    port = free_port()
    files = folder / "files"
    files.mkdir()
    # Where the master runs as root, its workers do not.
    folder.chmod(0o755)
    for name, content in pages.items():
        (files / name).parent.mkdir(exist_ok=True)
        (files / name).write_bytes(content)
    zone = f"limit_req_zone $server_addr zone=all:1m rate={rate}r/s;" if rate else ""
    limit = f"limit_req zone=all {f'burst={burst} nodelay' if burst else ''};" if rate else ""
    temporary = " ".join(
        f"{kind}_temp_path {folder}/temporary-{kind};" for kind in ("client_body", "proxy", "fastcgi", "scgi", "uwsgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"""
        {user}
        daemon off;
        worker_processes 1;
        pid {folder}/pid;
        error_log stderr crit;
        events {{ worker_connections 1024; }}
        http {{
            access_log off;
            default_type application/json;
            keepalive_requests 1000000;
            {temporary}
            {zone}
            limit_req_status {status};
            server {{
                listen 127.0.0.1:{port} backlog=1024;
                root {files};
                location / {{ {limit} }}
                {locations}
                location = /up {{ return 204; }}
            }}
        }}
        """
    )
    command = [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with _process(command, folder, ready=f"http://127.0.0.1:{port}/up"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def airflow_api(folder: Path, *, variables: int) -> Iterator[tuple[str, str]]:
    """
    Run the API server of the Airflow that is installed here, with so many Variables ``key-0000`` and so on.

    :return: the URL of the list of Variables, which has ``limit``, ``offset`` and ``total_entries`` and gives no more
        than 100 of them at once; and a token.
    """
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    environment = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__API_AUTH__JWT_SECRET": hashlib.sha512(os.urandom(32)).hexdigest(),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=inherited | environment, cwd=folder, check=True, capture_output=True)
    serve = [sys.executable, "-m", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)]
    # One app in one worker: nothing executes tasks here.
    command = [*serve, "--workers", "1", "--apps", "core"]
    with _process(command, folder, ready=f"{base}/api/v2/version", environment=environment):
        _, body = _send("GET", f"{base}/auth/token")
        answer: dict[str, Any] = json.loads(body)
        token: str = answer["access_token"]
        url = f"{base}/api/v2/variables"
        entities = [{"key": f"key-{number:04}", "value": str(number)} for number in range(variables)]
        action = {"action": "create", "action_on_existence": "fail", "entities": entities}
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        _send("PATCH", url, data=json.dumps({"actions": [action]}).encode(), headers=headers)
        yield url, token
