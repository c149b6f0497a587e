"""Whole collections of known overlaps: what ``find`` and hashes find, miss and invent."""
