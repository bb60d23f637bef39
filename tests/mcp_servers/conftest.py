"""No settings of this machine."""

from tests.client.conftest import _no_settings_of_this_machine

__all__ = ["_no_settings_of_this_machine"]
