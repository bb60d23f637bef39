"""The sync facade, made from the async client by ``tools/make_client.py``; ``base`` is written by hand."""
