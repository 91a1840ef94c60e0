"""The studies that the package ships: each cell is a run that can be configured."""

from __future__ import annotations

from importlib.resources import files

import pytest
from hydra import initialize_config_module
from PIL import Image

from tests.helpers.cases import composed
from vje_ppl.data.fingerprint import fingerprint
from vje_ppl.data.loaders.image_folder import image_folder
from vje_ppl.errors import UserError
from vje_ppl.reproduce.cell import cells_of, check_images, typed
from vje_ppl.reproduce.study import SCALES, Block, Study, read_study

STUDIES = [
    (scale, path.name.removesuffix(".yaml"))
    for scale in SCALES
    for path in sorted((files("vje_ppl.configs") / "study" / scale).iterdir(), key=lambda path: path.name)
]


def cells(study: Study, train=None, evaluate=None, sources=None):
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        known = dict.fromkeys(["digits", "fashion_mnist", "cifar10", "cifar100", "stl10", "imagenet"])
        return cells_of(study, known | (sources or {}), train or {}, evaluate or {}, "cpu")


@pytest.mark.parametrize(("scale", "name"), [pytest.param(*one, id="/".join(one)) for one in STUDIES])
def test_every_cell_can_be_configured_and_is_another_one(scale, name):
    study = read_study(name, scale)
    found = cells(study)
    wanted = sum(len(one.variants) * len(one.seeds) * len(one.points()) for one in study.blocks)
    assert len({cell.file_name for cell in found}) == wanted
    assert len({cell.run_name for cell in found}) == wanted
    assert len({(cell.block, cell.variant, cell.seed, str(cell.point)) for cell in found}) == wanted, "rows of a table"
    for cell in found:
        assert cell.config["seed"] == cell.seed
        assert set(cell.asked.get("eval", ())) <= {"knn", "whitened_knn", "linear", "one_class", "ood"}


def test_figure_3_is_drawn_from_the_runs_of_the_table():
    table, figure = (cells(read_study(name, "small")) for name in ("knn_linear", "figure_3"))
    assert {cell.file_name for cell in figure} < {cell.file_name for cell in table}


@pytest.mark.parametrize(
    ("name", "other"), [("knn_linear", "tuning"), ("knn_linear_no_projector", "tuning_no_projector")]
)
def test_methods_are_tuned_alike_before_they_are_compared(name, other):
    table, *_ = (block for block in read_study(name, "small").blocks if block.name == "cifar10")  # before four views
    (trials,) = read_study(other, "small").blocks
    assert set(table.variants) - set(trials.variants) <= {"vje", "vje_whitened"}  # tuned in the first of the two
    assert {"vje", "vje_whitened"} < set(read_study("tuning", "small").blocks[0].variants)


@pytest.mark.parametrize("name", ["knn_linear", "tuning"])
def test_methods_without_projector_have_the_budget_of_those_with_one(name):
    blocks = {block.name: block for block in reversed(read_study(name, "small").blocks)}  # the first of each data set
    for block in read_study(f"{name}_no_projector", "small").blocks:
        whole = blocks[block.name]
        for key in ("train", "evaluate", "sweep", "seeds"):
            assert getattr(block, key) == getattr(whole, key)
        methods = {variant.removesuffix("_no_projector"): overrides for variant, overrides in block.variants.items()}
        assert set(methods) | {"vje", "vje_whitened"} == set(whole.variants)
        for method, overrides in methods.items():
            assert method in ("vje", "vje_whitened") or overrides[:2] == (f"method={method}", "method.projector=[]")


SMALL = Study("any", "small", "A title", (Block("digits", ("batch_size=64",), ("eval=[knn]",), {"vje": ()}),))


def test_what_is_typed_is_what_is_configured():
    study = SMALL.only(None, None, [3, 4])
    first, second = cells(study, {"trainer.epochs": 2, "run.name": "a b"}, {"knn.k": [5, 7]})
    assert first.train == ("data=digits", "batch_size=64", "trainer.epochs=2", 'run.name="a b"', "seed=3")
    config = composed(*first.train)
    assert (config.batch_size, config.trainer.epochs, config.run.name, config.seed) == (64, 2, "a b", 3)
    assert first.asked["knn"]["k"] == [5, 7]
    assert second.config["seed"] == 4
    assert first.commands[1].startswith("python -m vje_ppl.evaluate run=")


def test_where_images_lie_changes_no_name_and_what_is_computed_does():
    (here,), (there,) = (cells(SMALL, sources={"digits": {"data": "image_folder", "data.root": root}}) for root in "ab")
    assert here.file_name == there.file_name
    assert here.run_name == there.run_name
    same = [({"seed": 9}, {}), ({}, {"linear.lr": [0.1]})]  # a study's seeds go before, and it asks for no probe
    for train, evaluate in ({"trainer.epochs": 3}, {}), ({}, {"knn.k": [7]}), *same:
        (other,) = cells(SMALL, train, evaluate, {"digits": {"data": "image_folder", "data.root": "a"}})
        assert (other.file_name == here.file_name) == ((train, evaluate) in same)


def test_records_of_other_images_are_not_taken_for_those_of_these(tmp_path):
    for shade, folder in enumerate(("cats/images", "dogs/images")):
        for name in ("train/a", "train/b", "test/a", "test/b"):
            (tmp_path / folder / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / folder / name / "0.png")

    def check(folder, digest):
        source = {"data": "image_folder", "data.root": str(tmp_path / folder)}
        found = cells(SMALL, sources={"digits": source})
        record = {"metrics": {"data": {"name": "images", "images": 2} | digest}}
        check_images(found, {cell.file_name: record for cell in found})

    cats = {"fingerprint": fingerprint(image_folder(str(tmp_path / "cats/images")))["train"]}
    check("cats/images", cats)
    check("dogs/images", {})  # an older record
    check("nowhere", cats)  # where nothing is computed, none are needed
    with pytest.raises(UserError, match=r"records of digits come from other images than those in .*dogs/images; give"):
        check("dogs/images", cats)


@pytest.mark.parametrize("value", [2, 0.5, "plain", "with space", "a=b", [1, 2], ["x"], True, None, "it's"], ids=str)
def test_values_come_back_from_the_command_line(value):
    (override,) = typed({"+anything": value})
    assert composed(override).anything == value


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda: read_study("knn_linear", "smal"), "scale expects small or paper, got smal"),
        (lambda: read_study("tuning", "paper"), "tuning is not defined at scale=paper; give scale=small"),
        (lambda: SMALL.only(["digit"], None, None), "blocks expects .* digits, got digit; did you mean digits"),
        (lambda: SMALL.only(None, ["byol"], None), "variants expects a list of vje.*, got byol; give variants"),
    ],
)
def test_mistakes_get_a_sentence(change, sentence):
    with pytest.raises(UserError, match=sentence):
        change()


def test_a_block_without_a_source_gets_a_sentence():
    study = Study("any", "small", "A title", (Block("mine", (), (), {"vje": ()}),))
    with pytest.raises(UserError, match=r"sources\.mine says where images come from"):
        cells(study)


def test_blocks_and_variants_that_do_not_go_together_are_refused():
    study = read_study("knn_linear", "small")
    with pytest.raises(UserError, match=r"variants of blocks=\['digits'\], which have none of them; give other blocks"):
        study.only(["digits"], ["vje_4_views"], None)
    (block,) = study.only(["cifar10"], ["vje_4_views"], None).blocks
    assert list(block.variants) == ["vje_4_views"]
