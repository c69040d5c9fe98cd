"""Networks that many threads ask at once, and their answers."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from configs.stage1 import Stage1Config
from models.stage1 import Stage1Net
from utils.batching import BatchedNet


@pytest.fixture
def net() -> Stage1Net:
    torch.manual_seed(1)
    return Stage1Net(Stage1Config(encoder_channels=(4, 4, 4), decoder_channels=(4, 4))).eval()


def ask_together(net: Stage1Net, images: list[torch.Tensor], max_batch: int = 8) -> tuple[list, list[int]]:
    """What a BatchedNet answers to images that all wait for the device, and the batches that it was shown."""
    batches: list[int] = []
    net.register_forward_pre_hook(lambda _, given: batches.append(len(given[0])))
    device_lock = threading.Lock()
    batched = BatchedNet(net, device_lock, max_batch)
    with ThreadPoolExecutor(len(images)) as pool, device_lock:
        answers = [pool.submit(batched, image) for image in images]
        while len(batched.waiting) < len(images):
            threading.Event().wait(0.001)
    return answers, batches


def test_images_that_wait_are_one_batch_and_each_gets_its_own_answer(net):
    images = [torch.rand(1, 3, 64, 96) for _ in range(5)]
    with torch.inference_mode():
        expected = [net(image) for image in images]
    answers, batches = ask_together(net, images)
    assert batches == [5]
    for answer, own in zip(answers, expected, strict=True):
        assert answer.result().keys() == own.keys()
        for name, maps in answer.result().items():
            torch.testing.assert_close(maps, own[name], atol=1e-5, rtol=1e-4)


def test_requests_of_several_images_get_as_many_answers(net):
    requests = [torch.rand(3, 3, 64, 96) for _ in range(4)]
    with torch.inference_mode():
        expected = [net(images)["gridpoint"] for images in requests]
    answers, batches = ask_together(net, requests)
    assert batches == [12]
    for answer, own in zip(answers, expected, strict=True):
        torch.testing.assert_close(answer.result()["gridpoint"], own, atol=1e-5, rtol=1e-4)


def test_a_batch_has_one_size_and_a_limit(net):
    images = [torch.rand(1, 3, 64, 96 if index == 2 else 64) for index in range(6)]
    answers, batches = ask_together(net, images, max_batch=4)
    assert sorted(batches) == [1, 1, 4]
    for image, answer in zip(images, answers, strict=True):
        assert answer.result()["gridpoint"].shape[3] == image.shape[3] // 2


def test_an_error_is_raised_where_its_image_came_from_and_nowhere_else(net):
    class Careful(torch.nn.Module):
        config = net.config

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if images.isnan().any():
                raise ValueError("not a number")
            return 2 * images

    images = [torch.full((1, 3, 2, 2), value) for value in (1.0, torch.nan, 3.0)]
    answers, batches = ask_together(Careful(), images)
    assert batches == [3, 1, 1, 1]
    with pytest.raises(ValueError, match="not a number"):
        answers[1].result()
    for index in (0, 2):
        torch.testing.assert_close(answers[index].result(), 2 * images[index])
