"""What networks multiply in: chosen by name, or by what the hardware can do."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from utils import device
from utils.device import choose_devices, choose_precision, cpu_has_amx

ROOT = Path(__file__).parent.parent
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def test_a_precision_is_taken_as_named_and_others_are_refused():
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(ValueError, match="--precision half: not among auto, float32, bfloat16"):
        choose_precision("half", CPU)


@pytest.mark.parametrize("name", ["toaster", "cpu:-1", "privateuseone", "vulkan", "meta", "cpu,", "cpu,cpu"])
def test_a_device_that_cannot_be_had_is_an_error_of_one_short_line(name):
    with pytest.raises(ValueError, match=f"--device {name.removesuffix('cpu,')}") as error:
        choose_devices(name)
    assert len(str(error.value)) < 150


@pytest.mark.parametrize(("amx", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_cpu_multiplies_bfloat16_where_it_has_amx(amx, expected, monkeypatch):
    flags = SimpleNamespace(get_capabilities=lambda: {"avx512_bf16": True, "amx_bf16": amx})
    monkeypatch.setattr(torch, "cpu", flags)
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize("amx", [True, False])
def test_where_torch_does_not_tell_linux_says_what_the_cpu_has(amx, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512_bf16 amx_tile" + " amx_bf16" * amx)
    monkeypatch.setattr(torch, "cpu", SimpleNamespace())
    monkeypatch.setattr(device, "CPU_FLAGS", tmp_path / "cpuinfo")
    assert cpu_has_amx() is amx
    monkeypatch.setattr(device, "CPU_FLAGS", tmp_path / "gone")
    assert cpu_has_amx() is False


@pytest.mark.parametrize(
    ("capability", "expected"), [((8, 6), torch.bfloat16), ((7, 5), torch.float32)], ids=["Ampere", "Turing"]
)
def test_cuda_multiplies_bfloat16_from_ampere_on(capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_precision("auto", CUDA) == expected


FILL_AGAIN = """
import resource, sys
import torch
from utils.device import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
for _ in range(12):  # the first of them find room beside each other
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(12 * 2**20).fill_(1)  # 48 MB, a map of stage 2
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_memory_that_is_kept_needs_no_new_pages():
    kept, given_back = (
        int(
            subprocess.run(
                [sys.executable, "-c", FILL_AGAIN, way], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout
        )
        for way in ("keep", "give back")
    )
    assert kept < 100
    assert given_back > kept
