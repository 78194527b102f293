"""Running an experiment: the command line, a run, and a finished run opened again."""
