"""The planner's side of a replay: suites with their predictions, the page of a run, calibration from records.

The replay itself is `validation/`, which knows nothing of the planner; here its files are made and its results read.
"""
