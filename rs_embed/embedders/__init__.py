"""Models: one file per family, the catalogue, and what loads and runs them."""
