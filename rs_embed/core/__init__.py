"""The pure core: values and functions without I/O, torch or ee."""
