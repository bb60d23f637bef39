"""One server for the tests of a file; each uses a mailbox of its own."""

from tests.client.conftest import _no_settings_of_this_machine, server

__all__ = ["_no_settings_of_this_machine", "server"]
