"""The outside of the house: HTTP, in-call control messages, pages."""
