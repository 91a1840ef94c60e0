"""The sections of a trained run, whole."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from tests.helpers.commands import train_in
from vje_ppl.diagnose.report.page import render_report
from vje_ppl.diagnose.report.section import Level
from vje_ppl.diagnose.run import open_diagnosed_run
from vje_ppl.diagnose.sections.active_features import active_features_section
from vje_ppl.diagnose.sections.predictive import predictive_section
from vje_ppl.diagnose.sections.uncertainty import uncertainty_section
from vje_ppl.errors import UserError
from vje_ppl.guides.diagonal_normal import DiagonalNormal

QUICK = ("images.count=8", "uncertainty.images=90", "predictive.images=90", "predictive.samples=40")


def opened(folder, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        options = compose("diagnose", overrides=[f"run={folder}", *QUICK, *overrides])
    return open_diagnosed_run(options, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    train_in(root, "run.name=a", "trainer.epochs=8", "data.subset=null")
    return root / "a"


@pytest.fixture(scope="module")
def diagnosed(folder):
    return opened(folder)


SECTIONS = {"uncertainty": uncertainty_section, "predictive": predictive_section, "features": active_features_section}


@pytest.fixture(scope="module")
def sections(diagnosed):
    return {name: section(diagnosed) for name, section in SECTIONS.items()}


def rows_of(section):
    return json.dumps(section.rows, allow_nan=False)  # as diagnosis.json takes them


@pytest.mark.parametrize("name", SECTIONS)
def test_section_judges_with_a_threshold_and_says_what_its_pictures_show(sections, name):
    section = sections[name]

    assert section.name == name
    names = [verdict.name for verdict in section.verdicts]
    assert len(set(names)) == len(names) > 0
    for verdict in section.verdicts:
        assert verdict.sentence.endswith(".")
        assert (verdict.threshold == "") is (verdict.level is Level.INFORMATION)
    assert section.pictures
    for picture in section.pictures:
        assert all(said.endswith(".") for said in (picture.normal, picture.shown, picture.alt))
    assert rows_of(section)
    assert section.notes


@pytest.mark.parametrize("name", SECTIONS)
def test_section_is_the_same_in_every_run_of_one_seed(diagnosed, folder, sections, name):
    again = SECTIONS[name](diagnosed)

    assert rows_of(again) == rows_of(sections[name])
    assert again.verdicts == sections[name].verdicts
    if name != "features":  # nothing there is random
        assert rows_of(SECTIONS[name](opened(folder, "seed=1"))) != rows_of(sections[name])


def test_sections_make_a_page(sections):
    page = render_report({"run": "a"}, list(sections.values()))

    for section in sections.values():
        assert section.title in page
        for picture in section.pictures:
            assert picture.shown.split(" (")[0].replace("'", "&#39;") in page


def test_uncertainty_covers_corruptions_errors_and_other_data(sections):
    rows = sections["uncertainty"].rows

    assert {row["corruption"] for row in rows if "corruption" in row} == {"noise", "blur", "occlusion"}
    (errors,) = [row for row in rows if "AURC" in row]
    assert errors["AURC, oracle"] <= errors["AURC"]
    assert errors["AURC, random"] == errors["errors"] / errors["images"]
    (other,) = [row for row in rows if "out" in row]
    assert (other["out"], other["n_in"], other["n_out"]) == ("sample_photos", 90, 90)


def test_uncertainty_does_without_corruptions_and_other_data(folder):
    section = uncertainty_section(
        opened(folder, "~uncertainty.corruptions", "+uncertainty.corruptions={}", "ood.data=[digits]")
    )

    assert [verdict.name for verdict in section.verdicts] == ["Posterior scale and k-NN errors"]


def test_a_corruption_of_ones_own_is_one_of_the_configuration(folder):
    mine = (
        "+uncertainty.corruptions.faint={_target_:vje_ppl.diagnose.statistics.corruptions.PixelNoise,severities:[0.01]}"
    )

    section = uncertainty_section(opened(folder, mine))

    assert "Posterior scale under faint" in [verdict.name for verdict in section.verdicts]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param("predictive.images=1", "predictive.images expects at least 2", id="one image"),
        pytest.param("predictive.samples=0", "predictive.samples at least 1", id="no sample"),
    ],
)
def test_predictive_refuses_too_little_to_compare(folder, options, said):
    with pytest.raises(UserError, match=said):
        predictive_section(opened(folder, options))


class Collapsed(DiagonalNormal):
    """A trained guide whose feature 2 knows nothing: its posterior is the prior."""

    def infer(self, embedding):
        posterior = super().infer(embedding)
        idle = torch.arange(posterior.mean.shape[-1]) == 2
        return replace(posterior, mean=posterior.mean.where(~idle, 0.0), scale=posterior.scale.where(~idle, 1.0))


def test_features_find_a_planted_collapse(folder):
    broken = opened(folder)
    broken.program.guide.__class__ = Collapsed

    section = active_features_section(broken)

    (found,) = [verdict for verdict in section.verdicts if verdict.name == "Active features"]
    assert found.level is Level.CAUTION
    assert "inactive: 2." in found.sentence
    assert section.rows[2]["KL"] == pytest.approx(0, abs=1e-6)
    assert min(row["KL"] for row in section.rows if row["feature"] != 2) > 0.05


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(("prior=mixture", "likelihood=cartesian_student_t"), id="mixture prior, Cartesian"),
        pytest.param(
            ("guide=flow", "likelihood=polar_von_mises_fisher", "likelihood/radius=none"), id="flow, direction"
        ),
        pytest.param(("guide=low_rank_normal", "prior=laplace", "likelihood=polar_student_t"), id="low rank, Laplace"),
    ],
)
def test_sections_work_for_other_parts(tmp_path, overrides):
    train_in(tmp_path, "run.name=b", "trainer.epochs=1", *overrides)
    diagnosed = opened(tmp_path / "b", "uncertainty.images=40", "predictive.images=40", "predictive.samples=10")

    found = {name: section(diagnosed) for name, section in SECTIONS.items()}

    has_kl = not {"prior=mixture", "guide=flow"} & set(overrides)
    assert all((row["KL"] is not None) is has_kl for row in found["features"].rows)
    assert any("KL feature by feature is left out" in note for note in found["features"].notes) is not has_kl
    checked = {row["statistic"] for row in found["predictive"].rows}
    assert checked == (
        {"direction cosine"} if "likelihood/radius=none" in overrides else {"direction cosine", "radius"}
    )
    projected = any("off the unit sphere" in note and "projected" in note for note in found["predictive"].notes)
    assert projected is ("likelihood=polar_student_t" in overrides)


def test_options_are_those_of_the_configuration(diagnosed):
    options = OmegaConf.to_container(diagnosed.options)

    assert set(options["uncertainty"]) == {"images", "knn", "corruptions"}
    assert set(options["predictive"]) == {"images", "samples"}
    assert set(options["features"]) == {"images"}
