import pytest
import torch

from tests.helpers.cases import built
from vje_ppl.errors import UserError
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.extract import extract, stored_rows


@pytest.mark.parametrize("memory_mb", [1.0, 0.0], ids=["in-memory", "in-a-file"])
def test_rows_are_kept_and_nothing_is_left(tmp_path, memory_mb):
    rows = stored_rows(100, 7, memory_mb, tmp_path)
    assert (rows.shape, rows.dtype) == ((100, 7), torch.float32)
    given = torch.randn(100, 7)
    for start in range(0, 100, 30):
        rows[start : start + 30] = given[start : start + 30]
    assert torch.equal(rows[torch.tensor([99, 0, 31])], given[[99, 0, 31]])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(UserError, match="features_mb"):
        stored_rows(10, 10, 0.0, tmp_path / "nowhere")


@pytest.mark.parametrize("memory_mb", [1.0, 0.0], ids=["in-memory", "in-a-file"])
def test_features_are_those_of_one_pass(tmp_path, memory_mb):
    program = built(dim=3).eval()
    embedder, images = Embedder(program.guide.embed, 3, program), torch.randn(10, 1, 4, 4)
    batches = [(torch.arange(0, 4), images[:4]), (torch.tensor([6, 7, 9]), images[[6, 7, 9]])]  # 4, 5, 8 were skipped
    found = extract(embedder, batches, 10, memory_mb, tmp_path)
    kept = [0, 1, 2, 3, 6, 7, 9]
    assert found.images.tolist() == kept
    expected = embedder.features(images)
    assert found.by_name.keys() == expected.keys() == {"z", "mu"}
    for name in expected:
        torch.testing.assert_close(found.by_name[name], expected[name][kept])
