"""Where networks run."""

import torch


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


def limit_threads(count: int | None) -> None:
    """Let torch use so many threads on the CPU, as many as it likes for None. ValueError below 1."""
    if count is None:
        return
    if count < 1:
        raise ValueError(f"--threads {count}: must be above 0")
    torch.set_num_threads(count)
