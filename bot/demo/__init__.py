"""A whole spoken call by two synthetic participants over real WebRTC."""
