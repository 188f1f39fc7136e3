"""Words: the one place where a verdict becomes a sentence."""
