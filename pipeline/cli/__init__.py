"""The command line: each command parses, calls the library and echoes; heavy imports happen inside the commands."""
