"""Workers that the server itself runs for registered agents, over the same calls as any other worker."""
