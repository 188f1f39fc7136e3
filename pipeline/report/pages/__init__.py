"""Pages and tables: the report, the results, the conclusion table in every format."""
