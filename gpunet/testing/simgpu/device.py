"""The one device there is: what CuPy's getDeviceProperties says of it, after an H100."""

from __future__ import annotations

from typing import Any

from . import library

PROPERTIES: dict[str, Any] = {
    "name": b"simulated GPU",
    "sharedMemPerBlock": 49152,
    "regsPerBlock": 65536,
    "warpSize": 32,
    "maxThreadsPerBlock": 1024,
    "maxThreadsDim": (1024, 1024, 64),
    "maxGridSize": (2147483647, 65535, 65535),
    "clockRate": 1980000,
    "totalConstMem": 65536,
    "major": 9,
    "minor": 0,
    "textureAlignment": 512,
    "texturePitchAlignment": 32,
    "multiProcessorCount": 132,
    "kernelExecTimeoutEnabled": 0,
    "integrated": 0,
    "canMapHostMemory": 1,
    "computeMode": 0,
    "concurrentKernels": 1,
    "ECCEnabled": 1,
    "pciBusID": 0,
    "pciDeviceID": 0,
    "pciDomainID": 0,
    "tccDriver": 0,
    "memoryClockRate": 2619000,
    "memoryBusWidth": 5120,
    "l2CacheSize": 52428800,
    "maxThreadsPerMultiProcessor": 2048,
    "isMultiGpuBoard": 0,
    "cooperativeLaunch": 1,
    "cooperativeMultiDeviceLaunch": 0,
    "asyncEngineCount": 3,
    "unifiedAddressing": 1,
    "streamPrioritiesSupported": 1,
    "sharedMemPerMultiprocessor": 233472,
    "regsPerMultiprocessor": 65536,
    "managedMemory": 1,
    "pageableMemoryAccess": 0,
    "concurrentManagedAccess": 0,
    "sharedMemPerBlockOptin": 232448,
    "uuid": b"simulated-gpu-00",
    "luid": b"\0" * 8,
    "luidDeviceNodeMask": 0,
    "persistingL2CacheMaxSize": 0,
    "maxBlocksPerMultiProcessor": 32,
    "accessPolicyMaxWindowSize": 0,
    "reservedSharedMemPerBlock": 1024,
    "deviceOverlap": 1,
    "singleToDoublePrecisionPerfRatio": 2,
}


def properties() -> dict[str, Any]:
    """A new dictionary, as CuPy gives one."""
    return {**PROPERTIES, "totalGlobalMem": library.load().sim_device_bytes()}
