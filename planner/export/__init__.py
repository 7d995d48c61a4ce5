"""Launch files of a plan: one module a target, from plan.json alone."""
