"""First looks at an embedding: components, similarity, samples, clusters and pictures."""
