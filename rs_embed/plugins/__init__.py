"""What installed packages offer, and warnings that are said once."""
