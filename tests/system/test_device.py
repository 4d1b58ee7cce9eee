"""Devices are chosen by name."""

import pytest

from foleyflow.errors import ConfigError
from foleyflow.system.device import pick_device


@pytest.mark.parametrize("name", ["tpu", "cpu:x", "meta", "cuda:99"])
def test_unknown_and_missing_devices_are_refused(name):
    with pytest.raises(ConfigError, match=f"device '{name}'"):
        pick_device(name)
