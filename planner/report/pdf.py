"""The report as PDF: the same HTML laid out on A4 by WeasyPrint, which may load nothing but `data:` addresses."""

from __future__ import annotations

import contextlib
import io
import warnings
from types import ModuleType

from planner.errors import InputError, MissingPartError
from planner.report.paper import for_paper, tree_of

PDF_VARIANT = "pdf/ua-1"
"""Tagged for screen readers."""
MISSING_LIBRARIES = (
    "the PDF needs the text libraries of Pango, which are not on this machine; install them with\n"
    "    apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0\n"
    "(macOS: brew install pango). The HTML report prints to PDF from any browser."
)
MISSING_PACKAGE = "the PDF needs the package weasyprint; install it with\n    pip install 'weasyprint>=70'"


def weasyprint() -> ModuleType:
    """The layout engine, loaded when first used.

    Raises MissingPartError, with the command that mends it, when the package or its system libraries are missing.
    """
    try:
        # Where libraries are missing it prints a banner on stdout, which is for results. Without the optional font
        # subsetting library it warns developers; the PDF is merely larger.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="HarfBuzz-Subset", category=DeprecationWarning)
            import weasyprint as engine
    except ImportError as err:
        raise MissingPartError(MISSING_PACKAGE) from err
    except OSError as err:
        raise MissingPartError(MISSING_LIBRARIES) from err
    module: ModuleType = engine
    return module


def render_pdf(html: str) -> bytes:
    """The PDF of a report made by `render_html`.

    Raises MissingPartError as `weasyprint` does, InputError when the page wants to load something.
    """
    engine = weasyprint()
    from weasyprint.urls import FatalURLFetchingError, URLFetcher

    fetcher = URLFetcher(allowed_protocols={"data"}, fail_on_errors=True)
    page = for_paper(html)
    tree = tree_of(page)
    document = engine.HTML(string=page if tree is None else "<html></html>", url_fetcher=fetcher)
    if tree is not None:
        document.etree_element = tree
        document.wrapper_element = type(document.wrapper_element).from_html_root(tree)
    try:
        # No identifier is asked for: it would be a hash of every object, each written once more to make it.
        pdf: bytes = document.write_pdf(pdf_variant=PDF_VARIANT)
    except FatalURLFetchingError as err:
        raise InputError(f"the template loads from outside, which a report must not: {err}") from err
    return pdf
