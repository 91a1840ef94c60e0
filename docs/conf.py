"""How Sphinx builds the site; `make docs` runs it. Nothing here or in the built pages needs a network."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "vje_ppl"
author = "the authors of vje_ppl"
release = version = installed_version("vje_ppl")
html_title = f"vje_ppl {release}"
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "extensions.mathml",
    "extensions.docstrings",
    "extensions.reference",
]
root_doc = "index"
exclude_patterns = ["results", "extensions"]
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_math_renderer = "mathml"

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
add_module_names = False
toc_object_entries = False
smartquotes = False
suppress_warnings = ["ref.python"]  # words of a shape, as in "*shape D", are no names to link
python_maximum_signature_line_length = 100
pygments_style = "default"
