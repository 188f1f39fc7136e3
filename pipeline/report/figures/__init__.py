"""Figures: data in, a matplotlib Figure or a file of it out."""
