"""Settings of Sphinx. `make docs` builds the documentation in build/docs, without network access."""

import sys
from importlib.metadata import version as version_of
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import reference

project = "fair-distill"
release = version_of("fair-distill")
copyright = "the fair-distill authors, Apache 2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["ci"]

autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
nitpicky = False

html_theme = "furo"
html_title = "fair-distill"
html_show_sphinx = False
html_copy_source = False


def setup(app: object) -> None:
    """Write the generated pages before Sphinx reads the sources."""
    reference.write(Path(__file__).parent)
