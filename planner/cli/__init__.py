"""Arguments in, one call, message and exit code out: one small file per command.

Nothing heavier than typer is imported here or at the top of a command's file, so that `plan --help` is instant.
"""
