"""Choice of device, precision, number of threads and memory allocation."""

import argparse
import contextlib
import ctypes
from collections.abc import Mapping
from pathlib import Path

import cv2
import torch
from threadpoolctl import threadpool_limits

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # parameters of mallopt, from glibc's malloc.h
RETAINED_BYTES = 2**30  # freed memory to retain; a page of up to 12 megapixels needs less at once
CPU_FLAGS = Path("/proc/cpuinfo")  # the list of CPU features on Linux
AMPERE = (8, 0)  # compute capability of the first CUDA devices with bfloat16
AUTO = "auto"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(name: str | None = None) -> torch.device:
    """The named device; None stands for CUDA if available, else the CPU. ValueError if it is unusable."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"--device {name}: no such kind of device") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: this machine has no CUDA device")
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        # The first sentence: torch lists all its kinds of devices in the next.
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ValueError(f"--device {name}: {reason}") from None
    return device


def choose_devices(names: str | None = None) -> list[torch.device]:
    """The named devices, such as "cuda:0,cuda:1"; None stands for all usable CUDA devices, else the CPU.

    Raises ValueError when a device cannot be used or is named twice.
    """
    if names is None:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found = []
        for index in range(count):
            with contextlib.suppress(ValueError):  # a device too old for this version of torch
                found.append(choose_device(f"cuda:{index}"))
        return found or [torch.device("cpu")]
    devices = [choose_device(name.strip()) for name in names.split(",")]
    if len(set(devices)) < len(devices):
        raise ValueError(f"--device {names}: a device is named twice")
    return devices


def add_precision_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=(AUTO, *PRECISIONS),
        default=AUTO,
        help="number format of the networks (default: bfloat16 where the hardware supports it, else float32)",
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of --precision on a device: AUTO or one of PRECISIONS, else ValueError.

    AUTO is bfloat16 where the hardware supports it, float32 elsewhere.
    """
    if name == AUTO:
        return torch.bfloat16 if supports_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise ValueError(f"--precision {name}: not among {', '.join((AUTO, *PRECISIONS))}")
    return PRECISIONS[name]


def supports_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 in hardware: CUDA from Ampere on, and CPUs with AMX.

    CPUs with AVX512_BF16 but without AMX are excluded, because none was measured.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    return device.type == "cpu" and cpu_has_amx()


def cpu_has_amx() -> bool:
    """Whether the CPU has AMX for bfloat16, as reported by torch, or else by Linux."""
    capabilities: Mapping = getattr(torch.cpu, "get_capabilities", dict)()
    if "amx_bf16" in capabilities:
        return bool(capabilities["amx_bf16"])
    try:
        return "amx_bf16" in CPU_FLAGS.read_text()
    except OSError:
        return False


def limit_threads(count: int | None) -> None:
    """Limit torch's threads on the CPU; None keeps its default. Raises ValueError below 1.

    BLAS is limited to one thread: the matrices that NumPy and SciPy multiply here are small, and further
    threads would wait for each other on busy cores.
    """
    if count is not None and count < 1:
        raise ValueError(f"--threads {count}: must be above 0")
    threadpool_limits(1, user_api="blas")
    if count is not None:
        torch.set_num_threads(count)


def use_one_thread() -> None:
    """Limit a worker process to one thread, where there are as many workers as cores."""
    limit_threads(1)
    cv2.setNumThreads(1)


def keep_memory() -> None:
    """Let glibc retain freed large blocks, up to RETAINED_BYTES, instead of returning them to the system.

    Getting their memory pages again costs as much time as the convolutions that fill them. The peak memory
    of a process is unchanged. Other C libraries are left alone.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, RETAINED_BYTES)
