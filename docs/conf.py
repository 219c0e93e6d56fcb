"""How the site is built: Markdown through MyST, offline, the same output for the same input."""

from __future__ import annotations

project = "orlop"
author = "The orlop developers"
project_copyright = "The orlop developers"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "orlop"
html_last_updated_fmt = None
html_show_sphinx = False
html_copy_source = False
