"""Whether new runs still give what a stored result says."""
