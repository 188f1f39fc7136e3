"""Claims judged: from runs to one value a seed, to a verdict with its interval."""
