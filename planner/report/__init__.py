"""How is a plan shown? One view of ready text; HTML, PDF, Markdown, tables and terminal text made from it.

Nothing is imported here: the PDF engine's process (`pdf_process`) starts without the documents.
"""
