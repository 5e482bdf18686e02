"""The page to drop a painting on: what is behind it (models, uploads, a collection), what it shows, and its server."""
