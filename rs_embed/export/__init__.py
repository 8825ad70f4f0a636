"""What writes files: embeddings, and specs as JSON."""
