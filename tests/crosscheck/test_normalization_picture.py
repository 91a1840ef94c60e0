"""The picture of what the Student-t integrates to on the sphere."""

from __future__ import annotations

from vje_ppl.crosscheck import normalization_picture


def test_the_picture_is_drawn(tmp_path):
    normalization_picture.draw(tmp_path / "folder" / "picture.png", points=5)
    assert (tmp_path / "folder" / "picture.png").read_bytes().startswith(b"\x89PNG")
