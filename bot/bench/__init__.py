"""The figures the project claims, each a command that prints JSON."""
