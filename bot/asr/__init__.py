"""Hops 3 and 4: windows become words, words become one transcript."""
