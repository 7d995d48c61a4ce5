"""How is a plan shown? One view of ready text; HTML, PDF, Markdown, tables and terminal text made from it."""

from planner.report.write import FORMATS, check_formats, write_reports

__all__ = ["FORMATS", "check_formats", "write_reports"]
