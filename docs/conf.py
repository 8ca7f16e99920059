# SPDX-License-Identifier: Apache-2.0
"""Sphinx's configuration."""

from __future__ import annotations

import builtins
import os
import sys
from pathlib import Path

import airflow_provider_async

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

# autodoc imports Airflow, which writes its configuration where it is told to.
os.environ["AIRFLOW_HOME"] = str(Path(__file__).parent / "_build" / "airflow")

project = "apache-airflow-providers-async"
author = "The authors of apache-airflow-providers-async"
copyright = f"2026, {author}"
version = release = airflow_provider_async.__version__

extensions = ["generated", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_title = f"{project} {version}"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"

# A method, function or error of this project that the text names must have its place here. What annotations name
# (types of Python, of other projects and private ones) and names of other projects, written in full, have none.
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", ".*"),
    ("py:.*", r"(?!airflow_provider_async\b)[a-z].*"),
    ("py:exc", "Airflow[A-Za-z]+|" + "|".join(name for name in dir(builtins) if name[0].isupper())),
]
