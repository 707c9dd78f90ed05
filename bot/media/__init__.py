"""Hops 1 and 2: a room gives a lane per participant, the lane's gate decides, speech windows come out."""
