"""The suite of gpunet: every test with the fixture `device` or `xp` runs on each chosen device."""

pytest_plugins = ["gpunet.testing.plugin", "tests.console"]
