import cv2
import numpy as np
import pytest
from PIL import Image

from utils import images
from utils.images import read_rgb, write_png

COLOURS = np.array([[[200, 30, 40], [10, 250, 60]], [[5, 70, 255], [255, 255, 255]]], np.uint8)


def test_png_keeps_every_pixel(tmp_path):
    write_png(tmp_path / "new" / "page.png", COLOURS)
    np.testing.assert_array_equal(read_rgb(tmp_path / "new" / "page.png"), COLOURS)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / "page.tiff" if mode == "CMYK" else tmp_path / "page.png"
    Image.fromarray(COLOURS).convert(mode).save(path)
    image = read_rgb(path)
    assert image.shape == (2, 2, 3)
    assert image.dtype == np.uint8
    assert image[1, 1].min() > 250


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)])
def test_sixteen_bits_become_eight(tmp_path, shape):
    deep = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape) * 257 * 10
    cv2.imwrite(str(tmp_path / "page.png"), deep)
    shallow = (deep // 257).astype(np.uint8)
    expected = shallow[..., ::-1] if len(shape) == 3 else np.repeat(shallow[..., None], 3, axis=2)
    np.testing.assert_array_equal(read_rgb(tmp_path / "page.png"), expected)


def test_what_is_transparent_is_white(tmp_path):
    Image.fromarray(np.zeros((2, 2, 4), np.uint8), "RGBA").save(tmp_path / "page.png")
    assert (read_rgb(tmp_path / "page.png") == 255).all()


def test_phones_orientation_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(COLOURS[:1]).save(tmp_path / "page.png", exif=exif)
    np.testing.assert_array_equal(read_rgb(tmp_path / "page.png"), np.rot90(COLOURS[:1], -1))


def test_bad_files_are_named(tmp_path, monkeypatch):
    path = tmp_path / "page.png"
    with pytest.raises(ValueError, match=r"page\.png: no such image"):
        read_rgb(path)
    path.touch()
    with pytest.raises(ValueError, match=r"page\.png: empty"):
        read_rgb(path)
    path.write_text("not an image at all")
    with pytest.raises(ValueError, match=r"page\.png: not an image"):
        read_rgb(path)
    write_png(path, np.random.default_rng(0).integers(0, 255, (50, 50, 3), np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"page\.png"):
        read_rgb(path)
    path.write_bytes(whole)
    monkeypatch.setattr(images, "MAX_PIXELS", 2000)
    with pytest.raises(ValueError, match=r"page\.png: 50 x 50 px, above"):
        read_rgb(path)
    monkeypatch.undo()
    write_png(path, np.zeros((1, images.MAX_SIDE + 1, 3), np.uint8))
    with pytest.raises(ValueError, match=r"page\.png: 32767 x 1 px, a side above"):
        read_rgb(path)


def test_only_rgb_is_written(tmp_path):
    with pytest.raises(ValueError, match="float64"):
        write_png(tmp_path / "page.png", np.zeros((2, 2, 3)))


@pytest.mark.parametrize(("top", "kind"), [(4095, np.uint16), (65535, np.int32), (255, np.int32)])
def test_grey_values_of_any_depth_fill_the_range(tmp_path, top, kind):
    Image.fromarray(np.array([[0, top // 3, top]], kind)).save(tmp_path / "page.tif")
    assert read_rgb(tmp_path / "page.tif")[0, :, 0].tolist() == [0, 85, 255]


def test_the_first_page_of_a_pdf_is_read(tmp_path):
    pytest.importorskip("pypdfium2")
    pages = [Image.new("RGB", (1100, 850), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "page.pdf", save_all=True, append_images=pages[1:], resolution=100)
    image = read_rgb(tmp_path / "page.pdf")
    np.testing.assert_allclose(image.shape, (2550, 3300, 3), atol=1)
    np.testing.assert_allclose(image.mean(axis=(0, 1)), (255, 0, 0), atol=3)
    (tmp_path / "broken.pdf").write_bytes((tmp_path / "page.pdf").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"broken\.pdf: "):
        read_rgb(tmp_path / "broken.pdf")
