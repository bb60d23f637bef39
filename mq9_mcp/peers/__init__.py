"""Others on the network that the broker calls by itself: where they may be, and how they are asked."""
