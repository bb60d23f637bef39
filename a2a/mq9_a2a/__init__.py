"""The A2A door: Agent2Agent requests in, broker commands out."""
