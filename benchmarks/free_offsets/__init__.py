"""Collections cut at any offset against their exact truth: `dupnet find` beside features, hashes, tools."""
