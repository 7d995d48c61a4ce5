"""Is it true? The replay of a plan on real hardware, kept apart from the planner.

`python -m validation PLAN` runs from a bare copy of this folder, with the standard library, torch and (for the engine
`transformers`) the model libraries alone: no solver, no catalog, no report. plan.json carries everything it needs.
"""
