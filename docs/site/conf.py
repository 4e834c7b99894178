"""What Sphinx makes of the repository's pages, where they stand: see `docs/site/__main__.py`."""

project = "FlowNurture"
extensions = ["myst_parser"]
root_doc = "docs/site/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "docs/**.md", "**/README.md"]
exclude_patterns = [".*", "var", "**/node_modules"]

# Links to headings, as GitHub names them.
myst_heading_anchors = 4
# Quotes that go over lines of a console are beyond its lexer; the block is shown all the same.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "FlowNurture"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
