"""Is it true? The replay of a plan on real hardware, kept apart from the planner.

The device replay in this folder is to run from a bare copy of it, with the standard library and torch alone: no
solver, no catalog, no report. This release ships the folder and its boundary; `plan validate` comes with the replay.
"""
