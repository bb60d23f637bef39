"""Which agents fit a text: indexes over the cards of the registered agents."""
