"""How is a plan shown? One view of ready text; HTML, PDF, Markdown, tables and terminal text made from it."""

from planner.report.write import FORMATS, Pages, check_formats, pages_of, write_pages, write_reports

__all__ = ["FORMATS", "Pages", "check_formats", "pages_of", "write_pages", "write_reports"]
