"""What tells data sets apart, and what does not."""

import shutil

import datasets
import numpy as np
import pytest
import torch
import webdataset as library
from PIL import Image

from vje_ppl.data import ImageData, InMemoryImages, StreamedImages
from vje_ppl.data.fingerprint import differences, digest, fingerprint
from vje_ppl.data.hold_out import hold_out
from vje_ppl.data.loaders.digits import digits
from vje_ppl.data.loaders.hf_dataset import hf_dataset
from vje_ppl.data.loaders.image_folder import image_folder
from vje_ppl.data.loaders.webdataset import webdataset


def write(root, extension, seed=0, count=4):
    """Images of two classes, whose names and, where they are not compressed, sizes are the same for any seed."""
    rng = np.random.default_rng(seed)
    for name in ("a", "b"):
        for part in ("train", "test"):
            (root / part / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{number}.{extension}")
    return str(root)


@pytest.mark.parametrize("memory_mb", [512.0, 0.0], ids=["in memory", "from files"])
@pytest.mark.parametrize("extension", ["png", "bmp", "ppm"])
def test_other_images_under_the_same_names_differ_and_moved_ones_do_not(tmp_path, extension, memory_mb):
    cats, dogs = (write(tmp_path / name / "images", extension, seed) for seed, name in enumerate(("cats", "dogs")))
    of_cats, of_dogs = (fingerprint(image_folder(root, memory_mb=memory_mb)) for root in (cats, dogs))
    assert set(of_cats) == {"train", "test"}
    assert all(of_cats[part] != of_dogs[part] for part in of_cats)
    shutil.copytree(cats, tmp_path / "elsewhere" / "pictures")
    assert fingerprint(image_folder(str(tmp_path / "elsewhere" / "pictures"))) == of_cats


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda root: (root / "a" / "3.png").unlink(), id="one less"),
        pytest.param(lambda root: (root / "a" / "3.png").rename(root / "a" / "9.png"), id="another name"),
        pytest.param(lambda root: (root / "a" / "3.png").rename(root / "b" / "9.png"), id="another class"),
        pytest.param(lambda root: Image.new("RGB", (8, 8)).save(root / "a" / "3.png"), id="another size"),
        pytest.param(lambda root: Image.new("RGB", (8, 8)).save(root / "b" / "4.png"), id="one more"),
    ],
)
def test_any_change_of_names_and_sizes_is_noticed_in_its_part_alone(tmp_path, change):
    before = fingerprint(image_folder(write(tmp_path, "png")))
    change(tmp_path / "train")
    after = fingerprint(image_folder(str(tmp_path)))
    assert after["train"] != before["train"]
    assert after["test"] == before["test"]


def test_images_in_memory_differ_in_pixels_labels_and_number():
    pixels, labels = torch.arange(48, dtype=torch.uint8).view(4, 3, 2, 2), torch.tensor([0, 0, 1, 1])
    whole = digest(InMemoryImages(pixels, labels, ("a", "b")))
    assert whole == digest(InMemoryImages(pixels.clone(), labels.clone(), ("a", "b")))
    others = (
        InMemoryImages(pixels + 1, labels, ("a", "b")),
        InMemoryImages(pixels, 1 - labels, ("a", "b")),
        InMemoryImages(pixels),
        InMemoryImages(pixels.view(4, 3, 4, 1), labels, ("a", "b")),
        InMemoryImages(pixels[:3], labels[:3], ("a", "b")),
    )
    assert len({whole, *map(digest, others)}) == 1 + len(others)
    assert whole.startswith("4-")


def test_a_subset_and_a_class_are_sets_of_their_own():
    assert len({digest(data.train) for data in (digits(), digits(subset=99), digits(only_class=3))}) == 3
    assert fingerprint(digits(only_class=3))["bank"] == fingerprint(digits())["train"]


def test_files_of_a_loader_of_ones_own_go_by_their_names_and_folders(tmp_path):
    def opened(root):
        paths = sorted(str(path) for path in (tmp_path / root).rglob("*.png"))
        images = StreamedImages(paths, torch.tensor([0, 1] * 8), ("a", "b"), workers=0)
        return ImageData("mine", images, images, None, 3, 8, 2)

    write(tmp_path / "here", "png")
    before = opened("here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert fingerprint(opened("there")) == fingerprint(before)
    assert hold_out(opened("there"), 0.5).test.labels.tolist() == hold_out(before, 0.5).test.labels.tolist()


def test_an_unreadable_file_is_no_error(tmp_path):
    images = StreamedImages([tmp_path / "nowhere.jpg", tmp_path / "neither.jpg"])
    assert digest(images).startswith("2-")


def shards(root, seed):
    root.mkdir()
    rng = np.random.default_rng(seed)
    with library.ShardWriter(str(root / "p-train-%03d.tar"), maxcount=8, verbose=0) as writer:
        for number in range(24):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            writer.write({"__key__": f"{number % 8}", "ppm": pixels, "cls": str(number % 2).encode()})
    return lambda where: webdataset(str(where), test=None, test_fraction=0.3)


def table(root, seed, count=24):
    rng, path = np.random.default_rng(seed), root.with_suffix(".bmp")
    cells = []
    for _ in range(count):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
        cells.append({"bytes": path.read_bytes(), "path": None})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    columns = {"image": cells, "label": [number % 2 for number in range(count)]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(str(root))
    return lambda where: hf_dataset(str(where), test_fraction=0.3)


@pytest.mark.parametrize("make", [shards, table])
def test_shards_and_tables_are_known_again(tmp_path, make):
    load = make(tmp_path / "cats", 0)
    make(tmp_path / "dogs", 1)
    cats, dogs = (load(tmp_path / name) for name in ("cats", "dogs"))
    assert cats.test.keys.tolist() == dogs.test.keys.tolist()  # the same names, on the same sides
    assert fingerprint(cats)["train"] != fingerprint(dogs)["train"]
    shutil.copytree(tmp_path / "cats", tmp_path / "moved")
    assert fingerprint(load(tmp_path / "moved")) == fingerprint(cats)


def test_rows_stay_on_their_side_when_others_follow(tmp_path):
    few, many = table(tmp_path / "few", 0)(tmp_path / "few"), table(tmp_path / "many", 0, 60)(tmp_path / "many")
    for part in ("train", "test"):
        assert set(getattr(few, part).keys.tolist()) < set(getattr(many, part).keys.tolist())


def test_sizes_in_a_table_are_those_of_its_bytes(tmp_path):
    files = table(tmp_path / "set", 0)(tmp_path / "set").train.files
    assert files.sizes().tolist() == [len(file.read()) for file in files]


def test_what_differs_is_said():
    saved, now = {"train": "12-a", "test": "3-c"}, {"train": "12-b", "bank": "12-b", "test": "4-d"}
    assert differences(saved, now, "cats", "dogs") == [
        "training images: 12 in cats -> 12 others in dogs",
        "labelled images: none in cats -> 12 in dogs",
        "test images: 3 in cats -> 4 in dogs",
    ]
    assert differences(saved, saved, "cats", "dogs") == []
    assert differences(None, now, None, None) == []
    assert differences({"train": "\x1b[31m"}, {"train": "1-a"}, None, "\x1b[31m") == [
        r"training images: none -> 1 in \x1b[31m",
    ]
