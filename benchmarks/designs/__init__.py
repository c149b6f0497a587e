"""What each part of the network is worth: the same training with one part changed or left out."""
