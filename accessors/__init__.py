"""The .rsembed accessors."""
