"""Builds the documentation: `nox -s docs`, or `sphinx-build -W -c docs . build/docs`.

Sphinx reads the whole repository, so that a link between two Markdown files works here and on
GitHub. Inventories of other projects are in docs/inventories: a build needs no network.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri

from subspace_bench import __version__

ROOT = Path(__file__).parents[1]
FRONT_PAGE = "results/index.html"  # copied as it is
REDIRECT = (
    '<meta http-equiv="refresh" content="0; url=docs/index.html"><title>subspace-bench</title>\n'
)
# Where a link to a file or folder that is no page leads: to GitHub, in its workflows.
SOURCE = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/blob/{GITHUB_SHA}"

project = "subspace-bench"
author = "The subspace-bench authors"
version = release = __version__
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "results/*.md"]
exclude_patterns = [".*", "build", "dist", "gpu-results", "results/runs", "results/records"]
nitpicky = True
default_role = "code"  # of `single backticks` in docstrings
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]

myst_enable_extensions = ["colon_fence", "html_image"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
INVENTORIES = {
    "matplotlib": "https://matplotlib.org/stable/",
    "numpy": "https://numpy.org/doc/stable/",
    "pandas": "https://pandas.pydata.org/docs/",
    "pytest": "https://docs.pytest.org/en/stable/",
    "python": "https://docs.python.org/3/",
    "torch": "https://docs.pytorch.org/docs/stable/",
}
intersphinx_mapping = {
    name: (address, f"docs/inventories/{name}.inv") for name, address in INVENTORIES.items()
}

html_theme = "pydata_sphinx_theme"
html_title = "subspace-bench"
templates_path = ["theme"]
html_sidebars = {"**": ["site-nav.html"]}
html_context = {"default_mode": "auto"}  # dark or light, as the browser prefers
html_copy_source = html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_theme_options = {
    "show_prev_next": False,
    "navigation_with_keys": False,
    "navbar_center": [],
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


class LinksToSources(SphinxTransform):
    """Leads links to files that are no pages to GitHub, or offers them as downloads without it."""

    default_priority = 5  # before Sphinx looks for targets

    def apply(self) -> None:
        here = Path(self.env.doc2path(self.env.docname)).parent
        for node in [
            *self.document.findall(pending_xref),
            *self.document.findall(download_reference),
        ]:
            target = here / node["reftarget"]
            if node.get("refdomain") or not target.exists():
                continue  # a page, a name of the API, or nothing, which Sphinx reports
            path = target.resolve().relative_to(ROOT).as_posix()
            if path == FRONT_PAGE:
                uri = relative_uri(f"{self.env.docname}.html", path)
            elif "GITHUB_SHA" in os.environ:
                uri = f"{SOURCE.format(**os.environ)}/{path}"
            elif target.is_dir():
                node.replace_self(node.children)
                continue
            else:
                continue
            node.replace_self(nodes.reference("", "", *node.children, refuri=uri))


def add_whole_pages(app: Sphinx, failure: Exception | None) -> None:
    """Copies results/index.html to where links expect it; the root leads to our first page."""
    if failure is None and app.builder.name == "html":
        (app.outdir / "index.html").write_text(REDIRECT)
        shutil.copyfile(ROOT / FRONT_PAGE, app.outdir / FRONT_PAGE)


def setup(app: Sphinx) -> None:
    app.add_transform(LinksToSources)
    app.connect("build-finished", add_whole_pages)
