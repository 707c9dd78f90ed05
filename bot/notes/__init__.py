"""Hops 5 and 6: the transcript becomes a draft note with its evidence, and the draft is delivered."""
