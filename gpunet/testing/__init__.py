"""Testing GPU code without a GPU: the simulated GPU and the pytest plugin that offers it."""
