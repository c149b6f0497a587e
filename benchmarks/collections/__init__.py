"""Whole collections whose every overlap is known: what ``find`` finds, misses and invents, and what hashes
do."""
