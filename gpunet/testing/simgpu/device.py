"""The one device there is: as many properties of an H100 as a program asks for."""

from __future__ import annotations

from typing import Any

from . import errors, work
from .errors import CUDARuntimeError
from .segments import DEVICE_BYTES, driver_bytes

PROPERTIES: dict[str, Any] = {
    "name": b"simulated GPU",
    "totalGlobalMem": DEVICE_BYTES,
    "sharedMemPerBlock": 49152,
    "sharedMemPerBlockOptin": 232448,
    "sharedMemPerMultiprocessor": 233472,
    "regsPerBlock": 65536,
    "warpSize": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsDim": (1024, 1024, 64),
    "maxGridSize": (2147483647, 65535, 65535),
    "maxThreadsPerMultiProcessor": 2048,
    "multiProcessorCount": 132,
    "major": 9,
    "minor": 0,
    "l2CacheSize": 52428800,
    "clockRate": 1980000,
    "memoryClockRate": 2619000,
    "memoryBusWidth": 5120,
    "concurrentKernels": 1,
    "integrated": 0,
    "pciBusID": 0,
    "pciDeviceID": 0,
    "pciDomainID": 0,
}
ATTRIBUTES = {"WarpSize": 32, "MultiProcessorCount": 132, "MaxThreadsPerBlock": 1024}


class Device:
    """Device 0; any other number is refused, as on a machine with one GPU."""

    def __init__(self, device: int | Device | None = None) -> None:
        number = 0 if device is None else int(device)
        if number != 0:
            raise CUDARuntimeError(errors.INVALID_DEVICE)
        self.id = number

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def use(self) -> Device:
        """Make this device current; it is."""
        return self

    def synchronize(self) -> None:
        """Wait for all the device's work."""
        work.synchronize_device()

    @property
    def compute_capability(self) -> str:
        return f"{PROPERTIES['major']}{PROPERTIES['minor']}"

    @property
    def attributes(self) -> dict[str, int]:
        return dict(ATTRIBUTES)

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and total bytes of the device."""
        return DEVICE_BYTES - driver_bytes(), DEVICE_BYTES

    @property
    def pci_bus_id(self) -> str:
        return "0000:00:00.0"
