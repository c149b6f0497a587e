"""What a search finds of images that were mirrored, turned, resized, rotated."""
