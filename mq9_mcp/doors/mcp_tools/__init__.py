"""The MCP door: commands as tools for models, over Streamable HTTP at ``/mcp``.

Only what runs once a call came imports the SDK: it takes longer to import than all the rest.
"""
