"""Where networks run, how precisely they multiply, and on how many threads."""

import argparse
import contextlib
import ctypes
from collections.abc import Mapping
from pathlib import Path

import cv2
import torch
from threadpoolctl import threadpool_limits

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
RETAINED_BYTES = 2**30  # bytes; a page of up to 12 megapixels needs under that at once, besides the networks
CPU_FLAGS = Path("/proc/cpuinfo")  # of Linux
AMPERE = (8, 0)  # compute capability of the first CUDA devices with bfloat16
AUTO = "auto"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def choose_device(name: str | None = None) -> torch.device:
    """The named device, else CUDA when there is one, else the CPU. ValueError when it cannot be had."""
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
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {name}: {str(error).splitlines()[0]}") from None
    return device


def choose_devices(names: str | None = None) -> list[torch.device]:
    """The devices named, "cuda:0,cuda:1" say; None means all CUDA devices that torch can use, else the CPU.

    ValueError when one cannot be had or is named twice.
    """
    if names is None:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found = []
        for index in range(count):
            with contextlib.suppress(ValueError):  # a card too old for this torch
                found.append(choose_device(f"cuda:{index}"))
        return found or [torch.device("cpu")]
    devices = [choose_device(name.strip()) for name in names.split(",")]
    if len(set(devices)) < len(devices):
        raise ValueError(f"--device {names}: a device twice")
    return devices


def add_precision_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--precision",
        choices=(AUTO, *PRECISIONS),
        default=AUTO,
        help="what networks multiply in (default: bfloat16 where the hardware does, else float32)",
    )


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """What networks multiply in on a device, by --precision: AUTO or one of PRECISIONS, else ValueError.

    AUTO is bfloat16 where the hardware multiplies it, float32 elsewhere.
    """
    if name == AUTO:
        return torch.bfloat16 if supports_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise ValueError(f"--precision {name}: not among {', '.join((AUTO, *PRECISIONS))}")
    return PRECISIONS[name]


def supports_bfloat16(device: torch.device) -> bool:
    """Whether a device has circuits for bfloat16: CUDA from Ampere on, and CPUs with AMX.

    A CPU with AVX512_BF16 but without AMX counts as one that has not, as no such was measured.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    return device.type == "cpu" and cpu_has_amx()


def cpu_has_amx() -> bool:
    """Whether the CPU has AMX's tiles of bfloat16, by torch where it says so, else by Linux."""
    capabilities: Mapping = getattr(torch.cpu, "get_capabilities", dict)()
    if "amx_bf16" in capabilities:
        return bool(capabilities["amx_bf16"])
    try:
        return "amx_bf16" in CPU_FLAGS.read_text()
    except OSError:
        return False


def limit_threads(count: int | None) -> None:
    """Let torch use so many threads on the CPU, as many as it likes for None. ValueError below 1.

    The matrices that NumPy and SciPy multiply here are small: BLAS gets one thread, as its others would wait
    for each other on busy cores.
    """
    if count is not None and count < 1:
        raise ValueError(f"--threads {count}: must be above 0")
    threadpool_limits(1, user_api="blas")
    if count is not None:
        torch.set_num_threads(count)


def use_one_thread() -> None:
    """For a worker process, one of as many as there are cores."""
    limit_threads(1)
    cv2.setNumThreads(1)


def keep_memory() -> None:
    """Have the C library, if it is glibc, keep large blocks for itself once they are free, up to RETAINED_BYTES bytes.

    It gives them back to the system else, and to get their pages again costs as much time as the convolutions
    that fill them. A process' peak stays what it is.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, RETAINED_BYTES)
