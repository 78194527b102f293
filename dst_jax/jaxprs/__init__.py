"""One walker for every analysis: calls, control flow, roles, paths, integers."""
