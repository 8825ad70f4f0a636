"""What is shipped with the package: see NOTICE.md for where each file comes from."""
