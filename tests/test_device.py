"""What networks multiply in: chosen by name, or by what the hardware can do."""

from types import SimpleNamespace

import pytest
import torch

from utils import device
from utils.device import choose_precision, cpu_has_amx

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def test_a_precision_is_taken_as_named_and_others_are_refused():
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(ValueError, match="--precision half: not among auto, float32, bfloat16"):
        choose_precision("half", CPU)


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
