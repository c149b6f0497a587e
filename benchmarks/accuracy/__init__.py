"""How accurate DupNet is beside what users could use instead, on images that no network was trained on."""
