"""Real servers for tests: PostgreSQL, `mlflow server` on it, and a proxy that fails on demand."""
