"""Sentences that other rooms wrote into a plan, in the language of the report.

A plan holds some sentences ready: why a way was chosen, why a GPU was rejected, what a warning says. They are
English. `foreign` recognises those it knows by their fixed words, takes the names and numbers out of them and says
the same in the language in use; any other stays English and is marked as such on the page.
"""

from __future__ import annotations


class Foreign(str):
    """A sentence in English on a page in another language."""

    __slots__ = ()
