"""Every file that Pillow opens is read, and what is left out is counted and named, wherever images lie."""

from __future__ import annotations

import io
import logging
import tarfile

import numpy as np
import pytest
from PIL import Image

from vje_ppl.data.formats import extensions
from vje_ppl.data.loaders.image_folder import image_folder
from vje_ppl.data.loaders.imagenet import imagenet
from vje_ppl.data.loaders.webdataset import webdataset
from vje_ppl.errors import UserError

#: Formats that Pillow can write here and that can hold these pixels without loss, but for the first three.
ENDINGS = ["jfif", "jpe", "webp", "JPG", "tif", "bmp", "ppm", "jp2", "qoi", "tga", "sgi", "dds", "apng", "PNG"]


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((16, 16), Image.Resampling.BICUBIC)


def save(path, seed=0, format=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, format=format)
    return path


def encoded(format="JPEG", seed=0):
    file = io.BytesIO()
    picture(seed).save(file, format)
    return file.getvalue()


def fill(root, *names):
    for seed, name in enumerate(names):
        save(root / name, seed)
    return str(root)


@pytest.mark.parametrize("memory_mb", [512, 0], ids=["held in memory", "streamed"])
def test_every_format_that_pillow_opens_is_read(tmp_path, memory_mb, caplog):
    for ending in ENDINGS:
        format = {"jfif": "JPEG", "jpe": "JPEG"}.get(ending)
        for seed in range(2):
            save(tmp_path / ending / f"{seed}.{ending}", seed, format)
    data = image_folder(str(tmp_path), memory_mb=memory_mb)
    assert set(data.train.classes) == set(ENDINGS)
    assert data.train.labels.bincount().tolist() == [1] * len(ENDINGS)
    assert caplog.text == ""
    if memory_mb:
        for label, pixels in zip(data.train.labels.tolist(), data.train.images.int().numpy(), strict=True):
            off = min(np.abs(np.asarray(picture(seed), int).transpose(2, 0, 1) - pixels).mean() for seed in (0, 1))
            assert off <= {"jfif": 16, "jpe": 16, "JPG": 16, "webp": 16}.get(data.train.classes[label], 0), (
                data.train.classes[label]
            )


@pytest.mark.skipif(".avif" not in extensions(), reason="Pillow reads no AVIF here")
def test_some_avif_among_others(tmp_path, caplog):
    assert len(image_folder(fill(tmp_path, "0.jpg", "1.avif", "2.AVIF")).train) == 3
    assert caplog.text == ""


def test_formats_for_which_other_programs_run_are_no_images(tmp_path):
    assert not {".eps", ".ps", ".wmf", ".emf", ".pdf", ".mpg", ".h5"} & set(extensions())


def test_an_image_without_an_extension_is_known_by_its_content(tmp_path, caplog):
    save(tmp_path / "0001", 0, "PNG")
    (tmp_path / "LICENSE").write_text("no image")
    assert len(image_folder(str(tmp_path)).train) == 1
    assert f"1 × no extension ({tmp_path}/LICENSE)" in caplog.text


@pytest.mark.parametrize("load", [image_folder, imagenet])
def test_what_is_left_out_is_counted_and_named_once(tmp_path, load, caplog):
    splits = ("train", "val")
    for split in splits:
        fill(tmp_path, *(f"{split}/{label}/{number}.jpg" for label in "ab" for number in range(2)))
        for name in ("a/x.heic", "a/y.heic", "b/deep/z.cr2", "b/notes.txt", ".DS_Store", "b/Thumbs.db", "b/._0.jpg"):
            path = tmp_path / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"no image")
    with caplog.at_level(logging.WARNING):
        load(str(tmp_path))
        load(str(tmp_path))
    assert len(caplog.records) == 2
    for split, message in zip(splits, sorted(record.getMessage() for record in caplog.records), strict=True):
        place = tmp_path / split
        assert message == (
            f"left out 4 file(s) in {place}, which Pillow cannot read here as images: 2 × .heic ({place}/a/x.heic), "
            f"1 × .cr2 ({place}/b/deep/z.cr2), 1 × .txt ({place}/b/notes.txt)"
        )


@pytest.mark.parametrize("name", ["c/0.heic", "c/deep/0.svg", "c/0.mp4", "c/0.npy", "c/0.5"])
def test_a_class_that_loses_all_its_images_is_an_error(tmp_path, name):
    root = fill(tmp_path, "a/0.jpg", "a/1.jpg", "b/0.jpg", "b/1.jpg")
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"no file of {tmp_path}/c can be read as an image: 1 × \.\w+ "):
        image_folder(root)


def test_a_single_class_beside_a_lost_one_is_an_error_and_beside_notes_none(tmp_path, caplog):
    root = fill(tmp_path, "cats/0.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "0.xml").write_text("<a/>")
    assert len(image_folder(root).train) == 1
    assert "1 × .xml" in caplog.text
    (tmp_path / "dogs").mkdir()
    (tmp_path / "dogs" / "0.heic").write_bytes(b"no image")
    with pytest.raises(UserError, match=f"no file of {tmp_path}/dogs can be read"):
        image_folder(root)


def test_a_class_of_which_every_image_is_skipped_is_an_error(tmp_path):
    root = fill(tmp_path, "train/a/0.jpg", "train/b/0.jpg", "test/a/0.jpg")
    for number in range(3):
        save(tmp_path / "train" / "c" / f"{number}.jpg").write_bytes(b"broken")
    with pytest.raises(UserError, match="none of the 3 training images of the class c can be read"):
        image_folder(root, on_error="skip")


def write_shard(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def opened(tmp_path, *members, **options):
    """What shards of these members are, twice: from their headers, and from the index that these left."""
    write_shard(tmp_path / "train.tar", *members)
    write_shard(tmp_path / "val.tar", *members)
    webdataset(str(tmp_path), **options)
    return webdataset(str(tmp_path), **options)


def found(tmp_path, *members, **options):
    """(name, class) of each image of a shard."""
    images = opened(tmp_path, *members, memory_mb=0, **options).train
    names = [images.path(place).rpartition("train.tar/")[2] for place in range(len(images))]
    return list(zip(names, images.labels.tolist(), strict=True))


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"im{number:03}_v1.5" for number in range(4)], id="a version in the name"),
        pytest.param([f"im_v1.{number}" for number in range(4)], id="one base"),
        pytest.param([f"2024.05.0{number}/IMG.{number}.crop" for number in range(4)], id="dots in folders"),
        pytest.param([f"a.b/{number}" for number in range(4)], id="as usual"),
    ],
)
@pytest.mark.parametrize("ending", ["png", "JPG", "jfif", "tif"])
def test_names_with_dots_lose_no_sample(tmp_path, names, ending, caplog):
    format = {"JPG": "JPEG", "jfif": "JPEG", "tif": "TIFF"}.get(ending, "PNG")
    members = [
        member
        for seed, name in enumerate(names)
        for member in ((f"{name}.{ending}", encoded(format, seed)), (f"{name}.cls", str(seed % 2).encode()))
    ]
    assert found(tmp_path, *members) == [(f"{name}.{ending}", seed % 2) for seed, name in enumerate(names)]
    assert caplog.text == ""


def test_a_mask_is_named_and_no_sample_and_two_views_are_two(tmp_path, caplog):
    jpeg = encoded()
    masks = [(f"{one}.{end}", jpeg if end != "cls" else b"7") for one in "ab" for end in ("jpg", "seg.png", "cls")]
    assert found(tmp_path, *masks) == [("a.jpg", 0), ("b.jpg", 0)]
    assert "2 × further image of a sample" in caplog.text
    assert "train.tar/a.seg.png" in caplog.text
    views = [(f"a.{end}", jpeg if end != "cls" else b"7") for end in ("left.jpg", "right.jpg", "cls")]
    assert found(tmp_path, *views) == [("a.left.jpg", 0), ("a.right.jpg", 0)]


def test_samples_without_an_image_and_odd_members_are_counted(tmp_path, caplog):
    members = [(f"{number}.{'jpg' if number < 4 else 'heic'}", encoded()) for number in range(6)]
    opened(tmp_path, *members, ("readme", b"text"), ("__meta__.json", b"{}"), label="")
    assert len(caplog.records) == 2  # of training and of test shards, each once
    assert "2 × sample without an image that Pillow reads here" in caplog.records[0].getMessage()
    assert "train.tar/4.heic" in caplog.records[0].getMessage()
    assert "1 × member without an extension" in caplog.records[0].getMessage()
    assert "meta" not in caplog.text


@pytest.mark.parametrize("ending", ["heic", "txt"])
def test_a_class_of_a_shard_that_loses_all_its_images_is_an_error(tmp_path, ending):
    members = [
        member
        for number in range(4)
        for member in (
            (f"{number}.{'jpg' if number % 2 else ending}", encoded()),
            (f"{number}.cls", b"%d" % (number % 2)),
        )
    ]
    with pytest.raises(UserError, match=r"no sample of the class 0 in data.train=\*train\*.tar has an image"):
        opened(tmp_path, *members)
