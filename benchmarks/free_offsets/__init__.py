"""Collections cut at any offset against their exact truth: `dupnet find`, local features, hashes, other
tools."""
