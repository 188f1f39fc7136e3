"""One thing led from end to end: what the command line, a sweep and the Python API share."""
