"""REST: ``POST /v1/{command}``, the body is the arguments, the answer is the reply."""
