"""The methods for commands, made from the catalogue by ``tools/make_client.py``."""
