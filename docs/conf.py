"""The documentation as a site: `make docs` builds it into docs/_build/html."""

import sys
from pathlib import Path

import dst_jax

sys.path.insert(0, str(Path(__file__).parent))

project = "dst_jax"
author = "dst_jax authors"
copyright = "dst_jax authors"
release = dst_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "building.reference",
    "building.links",
]
exclude_patterns = ["_build", "building", "**/__pycache__"]

html_theme = "sphinx_book_theme"
html_title = "dst_jax"
html_theme_options = {"show_toc_level": 2}
html_show_sourcelink = False
smartquotes = False

# Pages read well on GitHub too: plain Markdown, `$` for formulas, anchors of headings.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4

# Notebooks are stored without outputs and executed when the site is built. What has not
# changed since then comes from the cache.
nb_execution_mode = "cache"
nb_execution_timeout = 600  # seconds a cell, on a busy machine
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# A name in backticks in a docstring links to its entry, if it has one.
default_role = "py:obj"
add_module_names = False
python_maximum_signature_line_length = 80
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style"), "Reference"]
