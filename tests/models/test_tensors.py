import numpy as np
import pytest
import torch

from nstc.core.errors import CorruptBundleError
from nstc.models.tensors import images_to_tensor, load_tensors, save_tensors, tensor_to_images


def test_pictures_become_a_tensor_from_0_to_1():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[1, 2] = (255, 51, 0)

    tensor = images_to_tensor([picture])

    assert tensor.shape == (1, 3, 2, 3)
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor[0, :, 1, 2], torch.tensor([1.0, 0.2, 0.0]))


def test_every_byte_survives_the_round_trip():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)

    (back,) = tensor_to_images(images_to_tensor([picture]))

    assert np.array_equal(back, picture)


def test_values_are_clamped_and_rounded():
    values = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0]).view(1, 1, 1, 6)

    (picture,) = tensor_to_images(values.repeat(1, 3, 1, 1))

    assert picture[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255]


def test_tensors_are_read_back_as_written(tmp_path):
    tensors = {"a": torch.rand(2, 3).T, "b": torch.arange(4).half()}  # a is not contiguous

    save_tensors(tensors, tmp_path / "t.safetensors")

    read = load_tensors(tmp_path / "t.safetensors")
    assert all(torch.equal(read[key], value) for key, value in tensors.items())
    assert read["b"].dtype == torch.float16


@pytest.mark.parametrize("content", [None, b"", b"\x80\x04 a pickle"])
def test_a_missing_or_foreign_file_is_damaged(tmp_path, content):
    path = tmp_path / "t.safetensors"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CorruptBundleError, match=r"t\.safetensors can't be read"):
        load_tensors(path)
