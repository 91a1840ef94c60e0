"""Each loader on a small data set, written in the genuine format."""

import gzip
import hashlib
import pickle
import re
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10, CIFAR100, STL10

from vje_ppl.data.loaders.cifar import cifar10, cifar100
from vje_ppl.data.loaders.digits import digits
from vje_ppl.data.loaders.fashion_mnist import fashion_mnist
from vje_ppl.data.loaders.imagenet import imagenet
from vje_ppl.data.loaders.stl10 import stl10
from vje_ppl.errors import UserError


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_digits_are_split_by_class_and_keep_their_pixels():
    from sklearn.datasets import load_digits

    data = digits()
    assert (data.name, data.channels, data.image_size, data.num_classes) == ("digits", 1, 8, 10)
    assert data.bank is data.train
    bunch = load_digits()
    counts = np.bincount(bunch.target)
    assert (data.test.labels.bincount().numpy() == np.rint(0.2 * counts)).all()
    assert len(data.train) + len(data.test) == 1797
    pixels = torch.cat([data.train.images, data.test.images])
    assert pixels.shape == (1797, 1, 8, 8)
    # 17 levels, from 0 to 255, that tell the originals apart.
    assert torch.equal(pixels.unique(), torch.from_numpy(np.rint(np.arange(17) * 255 / 16)).to(torch.uint8))
    originals = sorted(map(bytes, np.rint(bunch.images * 255 / 16).astype(np.uint8).reshape(1797, -1)))
    assert sorted(map(bytes, pixels.numpy().reshape(1797, -1))) == originals


def test_digits_subset_is_part_of_the_training_images():
    whole, part = digits(), digits(subset=100)
    assert len(part.train) == len(part.bank) == 100
    assert torch.equal(part.test.images, whole.test.images)
    known = {bytes(image.numpy()) for image in whole.train.images}
    assert all(bytes(image.numpy()) in known for image in part.train.images)


@pytest.fixture
def write_cifar(tmp_path, monkeypatch):
    """Writes CIFAR's pickles with random images, and tells torchvision their checksums."""

    def write(dataset, label_key, classes):
        folder = tmp_path / dataset.base_folder
        folder.mkdir()
        rng = np.random.default_rng(0)
        splits = {}
        for split in ("train_list", "test_list"):
            files, rows, labels = [], [], []
            for name, _ in getattr(dataset, split):
                data = rng.integers(0, 256, (6, 3072), dtype=np.uint8)
                label = rng.integers(0, len(classes), 6).tolist()
                (folder / name).write_bytes(pickle.dumps({"data": data, label_key: label}))
                files.append([name, md5(folder / name)])
                rows.append(data)
                labels += label
            monkeypatch.setattr(dataset, split, files)
            splits[split] = np.concatenate(rows), labels
        meta = dataset.meta
        (folder / meta["filename"]).write_bytes(pickle.dumps({meta["key"]: list(classes)}))
        monkeypatch.setattr(dataset, "meta", {**meta, "md5": md5(folder / meta["filename"])})
        return splits

    return write


@pytest.mark.parametrize(
    ("load", "dataset", "label_key", "count", "train"),
    [
        pytest.param(cifar10, CIFAR10, "labels", 10, 30, id="cifar10"),
        pytest.param(cifar100, CIFAR100, "fine_labels", 100, 6, id="cifar100"),
    ],
)
def test_cifar_is_read_as_its_pickles_say(tmp_path, write_cifar, load, dataset, label_key, count, train):
    classes = tuple(f"class {number}" for number in range(count))
    written = write_cifar(dataset, label_key, classes)
    data = load(str(tmp_path))
    assert (data.channels, data.image_size, data.num_classes) == (3, 32, count)
    assert data.bank is data.train
    for images, split, length in ((data.train, "train_list", train), (data.test, "test_list", 6)):
        pixels, labels = written[split]
        assert len(images) == length
        # CIFAR stores channel by channel, row by row.
        assert np.array_equal(images.images.numpy(), pixels.reshape(-1, 3, 32, 32))
        assert images.images.is_contiguous()
        assert images.labels.tolist() == labels
        assert images.classes == classes
    assert len(load(str(tmp_path), subset=5).train) == 5


def test_damaged_cifar_is_one_sentence(tmp_path, write_cifar):
    write_cifar(CIFAR10, "labels", [str(number) for number in range(10)])
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"files of cifar10 in .*batches-py are incomplete or damaged") as caught:
        cifar10(str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.fixture
def write_stl10(tmp_path, monkeypatch):
    """Writes STL-10's binary files with random images, and tells torchvision their checksums."""
    folder = tmp_path / STL10.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 5), ("test", 4), ("unlabeled", 7)):
        # Column by column: the format is that of MATLAB.
        arrays[split] = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        (folder / f"{split}_X.bin").write_bytes(arrays[split].transpose(0, 1, 3, 2).tobytes())
        if split != "unlabeled":
            arrays[f"{split} labels"] = rng.integers(1, 11, count, dtype=np.uint8)
            (folder / f"{split}_y.bin").write_bytes(arrays[f"{split} labels"].tobytes())
    names = [f"name {number}" for number in range(10)]
    (folder / STL10.class_names_file).write_text("\n".join(names))
    (folder / "fold_indices.txt").write_text("0 1")
    for table in ("train_list", "test_list"):
        monkeypatch.setattr(STL10, table, [[name, md5(folder / name)] for name, _ in getattr(STL10, table)])
    return arrays


@pytest.mark.parametrize("split", ["unlabeled", "train+unlabeled", "train"])
def test_stl10_learns_from_one_split_and_votes_with_another(tmp_path, write_stl10, split):
    data = stl10(str(tmp_path), train_split=split)
    assert (data.channels, data.image_size, data.num_classes) == (3, 96, 10)
    expected = {
        "train": write_stl10["train"],
        "unlabeled": write_stl10["unlabeled"],
        "train+unlabeled": np.concatenate([write_stl10["train"], write_stl10["unlabeled"]]),
    }[split]
    assert np.array_equal(data.train.images.numpy(), expected)
    assert (data.train.labels is None) == (split != "train")
    assert np.array_equal(data.bank.images.numpy(), write_stl10["train"])
    assert data.bank.labels.tolist() == (write_stl10["train labels"].astype(int) - 1).tolist()
    assert np.array_equal(data.test.images.numpy(), write_stl10["test"])
    assert data.test.classes == tuple(f"name {number}" for number in range(10))
    assert len(stl10(str(tmp_path), subset=3).train) == 3


def test_stl10_refuses_an_unknown_split(tmp_path):
    with pytest.raises(UserError, match=r"data.train_split must be one of unlabeled, .* got all"):
        stl10(str(tmp_path), train_split="all")


@pytest.mark.parametrize("compressed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "."], ids=["as torchvision", "files in root"])
def test_fashion_mnist_is_read_as_its_files_say(tmp_path, write_idx, folder, compressed):
    written = write_idx(tmp_path / folder, compressed)
    data = fashion_mnist(str(tmp_path))
    assert (data.channels, data.image_size, data.num_classes) == (1, 28, 10)
    for images, split in ((data.train, "train"), (data.test, "t10k")):
        assert np.array_equal(images.images.numpy()[:, 0], written[split][0])
        assert images.labels.tolist() == written[split][1].tolist()
    assert data.train.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda content: content[:60], "train-images-idx3-ubyte.gz cannot be read", id="truncated gz"),
        pytest.param(lambda content: b"html", "train-images-idx3-ubyte.gz cannot be read", id="no gz"),
        pytest.param(lambda content: gzip.compress(b"<html>..."), "is not an IDX file", id="no idx"),
        pytest.param(
            lambda content: gzip.compress(gzip.decompress(content)[:100]),
            "should hold 7072 bytes and holds 100",
            id="truncated idx",
        ),
    ],
)
def test_damaged_idx_file_is_named(tmp_path, write_idx, damage, message):
    write_idx(tmp_path, True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message):
        fashion_mnist(str(tmp_path))


def test_a_label_beyond_the_classes_is_named(tmp_path, write_idx):
    write_idx(tmp_path, False)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + bytes([10]))
    with pytest.raises(UserError, match=r"t10k has the label 10, and there are 10 classes"):
        fashion_mnist(str(tmp_path))


def test_incomplete_fashion_mnist_names_the_missing_file(tmp_path, write_idx):
    write_idx(tmp_path / "FashionMNIST" / "raw", True)
    (tmp_path / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match=r"incomplete or damaged \(t10k-labels-idx1-ubyte is missing\)"):
        fashion_mnist(str(tmp_path))


@pytest.mark.parametrize(
    ("load", "folder"),
    [
        pytest.param(cifar10, "cifar-10-batches-py", id="cifar10"),
        pytest.param(cifar100, "cifar-100-python", id="cifar100"),
        pytest.param(stl10, "stl10_binary", id="stl10"),
        pytest.param(fashion_mnist, "FashionMNIST/raw", id="fashion_mnist"),
    ],
)
def test_missing_root_names_the_folder_and_the_command(tmp_path, load, folder):
    root = tmp_path / "nowhere"
    command = f"python -m vje_ppl.train data={load.__name__} data.root={root} data.download=true"
    expected = f"expects the folder {root / folder}, which does not exist.*`{re.escape(command)}`"
    with pytest.raises(UserError, match=expected):
        load(str(root))
    assert not root.exists()


def test_download_happens_on_request_only_and_once(tmp_path, write_cifar, monkeypatch):
    downloads = []

    def download(self):
        downloads.append(self.root)
        write_cifar(CIFAR10, "labels", [str(number) for number in range(10)])

    monkeypatch.setattr(CIFAR10, "download", download)
    with pytest.raises(UserError):
        cifar10(str(tmp_path))
    assert downloads == []
    assert len(cifar10(str(tmp_path), download=True).train) == 30
    assert downloads == [str(tmp_path)]


def test_one_process_downloads_and_the_others_wait_for_its_files(tmp_path, write_cifar, monkeypatch):
    fetched, inside = [], []

    def download(self):  # as torchvision's own: nothing is fetched where the files are whole
        inside.append(1)
        assert len(inside) == 1
        if not self._check_integrity():
            write_cifar(CIFAR10, "labels", [str(number) for number in range(10)])
            time.sleep(0.3)  # in which the others would come in
            fetched.append(self.root)
        inside.pop()

    monkeypatch.setattr(CIFAR10, "download", download)
    with ThreadPoolExecutor(4) as pool:  # a lock is of an open file, so that threads exclude each other as processes do
        sizes = list(pool.map(lambda _: len(cifar10(str(tmp_path), download=True).train), range(4)))
    assert sizes == [30] * 4
    assert len(fetched) == 1


def test_failed_download_is_one_sentence(tmp_path, monkeypatch):
    def refuse(self):
        raise OSError("<urlopen error no network>")

    monkeypatch.setattr(CIFAR10, "download", refuse)
    with pytest.raises(UserError, match=r"download of cifar10 .* failed \(<urlopen error no network>\); check"):
        cifar10(str(tmp_path), download=True)


def test_imagenet_is_found_by_its_folders(tmp_path, write_image):
    for split, count in (("train", 3), ("val", 2)):
        for name in ("n01440764", "n01443537"):
            for number in range(count):
                write_image(tmp_path / split / name / f"{name}_{number}.JPEG", 40, 50)
    data = imagenet(str(tmp_path), workers=4, on_error="skip")
    assert (data.channels, data.image_size, data.num_classes) == (3, 224, 2)
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.train.path(3) == str(tmp_path / "train" / "n01443537" / "n01443537_0.JPEG")
    assert data.test.labels.tolist() == [0, 0, 1, 1]
    assert data.train.workers == 4
    assert data.train.skip_unreadable
    assert len(imagenet(str(tmp_path), subset=2).train) == 2


def test_imagenet_says_what_to_lay_out(tmp_path, write_image):
    with pytest.raises(UserError, match=rf"a folder per class in {tmp_path / 'train'}; register .*val/n01440764/"):
        imagenet(str(tmp_path))
    for name in ("a", "b"):
        write_image(tmp_path / "train" / name / "0.jpg")
    write_image(tmp_path / "val" / "0.jpg")
    with pytest.raises(UserError, match=f"a folder per class in {tmp_path / 'val'}"):
        imagenet(str(tmp_path))
    (tmp_path / "val" / "0.jpg").unlink()
    for name in ("a", "c"):
        write_image(tmp_path / "val" / name / "0.jpg")
    with pytest.raises(UserError, match="folders of the same names, one per class, but b is in only one of them"):
        imagenet(str(tmp_path))


def test_importing_the_data_package_loads_no_data_set_library():
    import subprocess
    import sys

    code = "import sys, vje_ppl.data; print([m for m in ('kornia', 'sklearn', 'torchvision') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
