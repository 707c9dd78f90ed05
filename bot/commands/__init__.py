"""Groups of commands of the ``quietnote`` command line, a module each. What they do is others' to do."""
