"""The images to score, from folders, files, lists and shards; and their paths in a table."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from vje_ppl.errors import UserError
from vje_ppl.score.find import find_files, last_changes, written_path


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8)).save(path)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.png", "sub/deep/c.png", ".hidden/d.png", "sub/e.png"):
        image(Path("photos") / name)
    return Path("photos")


def paths(wanted) -> list[str]:
    return list(map(str, find_files(wanted).files))


def test_a_folder_gives_its_images_at_any_depth_in_a_fixed_order(folder):
    assert paths("photos") == [f"photos/{name}" for name in ("a.png", "b.png", "sub/e.png", "sub/deep/c.png")]
    assert find_files("photos").name == "photos"


def test_files_lists_and_several_paths(folder):
    Path("list.txt").write_text("photos/b.png\n\nphotos/missing.png\n", encoding="utf-8")
    assert paths("photos/a.png") == ["photos/a.png"]
    assert paths("list.txt") == ["photos/b.png", "photos/missing.png"]
    assert paths(["photos/sub", "list.txt"])[-2:] == ["photos/b.png", "photos/missing.png"]
    Path("photos/list.txt").write_text("a.png", encoding="utf-8")
    assert paths("photos/list.txt") == ["photos/a.png"]  # relative to the list


def test_shards(folder):
    os.mkdir("shards")
    for number in range(2):
        with tarfile.open(f"shards/{number}.tar", "w") as tar:
            tar.add("photos/a.png", f"x{number}.png")
    both = ["shards/0.tar/x0.png", "shards/1.tar/x1.png"]
    assert paths("shards") == paths("shards/*.tar") == paths(["shards/0.tar", "shards/1.tar"]) == both
    assert paths("shards/1.tar") == both[1:]
    with pytest.raises(UserError, match="shards alone or files alone, got shards and photos"):
        find_files(["shards", "photos"])
    Path("shards/sizes.json").write_text("{}", encoding="utf-8")
    assert paths("shards") == both
    image(Path("shards/b.png"))
    with pytest.raises(UserError, match=r"got shards with 0.tar beside 1 image\(s\); .* give images=shards/0.tar"):
        find_files("shards")


def test_files_that_are_not_scored_are_named(folder):
    for name in ("photos/a.heic", "photos/sub/notes.txt"):
        Path(name).write_bytes(b"x")
    assert find_files("photos").left_out == "1 × .heic (photos/a.heic), 1 × .txt (photos/sub/notes.txt)"
    with tarfile.open("twice.tar", "w") as tar:
        for name in ("x.png", "x.jpg", "y.heic"):
            tar.add("photos/a.png", name)
    found = find_files("twice.tar")
    assert list(map(str, found.files)) == ["twice.tar/x.png"]
    assert "further image of a sample (twice.tar/x.jpg)" in found.left_out
    assert "sample without an image that Pillow reads here (twice.tar/y.heic)" in found.left_out
    os.mkdir("phone")
    Path("phone/a.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"holds no image that Pillow can read; found 1 × .heic"):
        find_files("phone")


def test_an_overwritten_file_or_shard_has_another_time(folder):
    with tarfile.open("some.tar", "w") as tar:
        tar.add("photos/a.png", "x.png")
        tar.add("photos/a.png", "y.png")
    changed = {"photos": ("photos/b.png", [False, True, False, False]), "some.tar": ("some.tar", [True, True])}
    for name, (path, which) in changed.items():
        os.utime(path, ns=(0, 12345))
        assert (last_changes(find_files(name).files) == 12345).tolist() == which
    Path("list.txt").write_text("missing.png", encoding="utf-8")
    assert last_changes(find_files("list.txt").files).tolist() == [-1]


def test_mistakes_get_a_sentence(folder):
    os.mkdir("empty")
    Path("latin.txt").write_bytes(b"\xe9")
    for wanted, words in {
        "nowhere": "images=nowhere does not exist; give a folder",
        "empty": "images=empty holds no image",
        "*.tar": "matches .tar shards, and it matches 0",
        "latin.txt": "cannot be read as a list of paths in UTF-8",
    }.items():
        with pytest.raises(UserError) as error:
            find_files(wanted)
        assert words in str(error.value)


def test_a_shard_that_looks_like_a_formula_is_written_as_the_same_file_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image(Path("a.png"))
    with tarfile.open("=x.tar", "w") as tar:
        tar.add("a.png")
    assert written_path(find_files("=x.tar").files[0])[0] == "./=x.tar/a.png"


@pytest.mark.parametrize("name", ["=1+1.png", "+a.png", "-b.png", "@c.png", "\t=d.png"])
def test_a_path_that_looks_like_a_formula_is_written_as_the_same_file_and_noted(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image(Path(name))
    path, note = written_path(name)
    assert path == f"./{name}"
    assert os.path.samefile(path, name)
    assert "formula" in note


def test_other_paths_are_written_as_they_are():
    assert written_path('photos/=a, "b"\n.png') == ('photos/=a, "b"\n.png', "")
    path, note = written_path(os.fsdecode(b"caf\xe9.png"))
    assert path == r"caf\xe9.png"
    assert "not UTF-8" in note
