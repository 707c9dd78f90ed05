"""The ground: database, keys, erasure, receipts, and the live bus."""
