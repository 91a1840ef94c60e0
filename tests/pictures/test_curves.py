import math
import struct

import matplotlib as mpl
import numpy as np
import pytest

from vje_ppl.errors import UserError
from vje_ppl.pictures.curves import curves_figure, draw_curves


def row(epoch, **more):
    return {"epoch": epoch, "step": 10 * epoch, "elbo": -3.0 + epoch, "objective": 2.0 * epoch, **more}


def everything(epoch):
    return row(
        epoch,
        loss=-1.0,
        kl=4.0,
        posterior_scale=0.1,
        share_at_bound=0.0,
        embedding_norm=7.0,
        spread=0.9,
        cosine=0.5,
        lr=1e-3,
        images_per_s=1234.5,
        wait_share=0.02,
        **{"log_likelihood/direction": 3.0, "log_likelihood/radius": -1.0},
        **{"knn/z": 0.5, "knn/mu": 0.4, "knn/pixels": 0.3, "knn/untrained_z": 0.2, "knn/k": 30},
    )


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([{"epoch": 1, "step": 3}], []),
        ([row(1), row(2)], ["Objective"]),
        ([row(1, kl=None), row(2, kl=math.nan)], ["Objective"]),
        ([row(1), row(2, kl=1.0)], ["Objective", "Parts of the ELBO"]),
        ([{"epoch": 0, "knn/pixels": 0.3}], ["k-NN accuracy"]),
        (
            [{"epoch": 1, "loss": 3.0, "term/variance": 2.0, "term/covariance": 1.0, "view_cosine": 0.9}],
            ["Loss", "Parts of the loss", "Collapse watch"],
        ),
        (
            [{"epoch": 1, "loss": -2.0, "log_density": 9.0, "concentration": 3.0}],
            ["Loss", "Log density", "Concentration"],
        ),
        ([row(1, **{"likelihood.df": 2.0, "likelihood.radius.df": 3.0})], ["Objective", "Degrees of freedom"]),
        (
            [everything(1)],
            [
                "Objective",
                "Parts of the ELBO",
                "k-NN accuracy",
                "Collapse watch",
                "Embedding norm",
                "Posterior scale",
                "Posterior at a bound",
                "Learning rate",
                "Speed",
            ],
        ),
    ],
    ids=[
        "no-rows",
        "nothing-to-draw",
        "one-panel",
        "not-one-finite-value",
        "late-column",
        "level-only",
        "terms",
        "density",
        "learned-tails",
        "everything",
    ],
)
def test_panels_follow_the_data(rows, expected):
    assert titles(curves_figure(rows, "run")) == expected


def test_curves_hold_the_numbers_of_the_history():
    rows = [everything(1), row(2, kl=5.0), row(3, kl=None), row(4, kl=math.inf), everything(5)]
    figure = curves_figure(rows, "run")
    lines = {axes.get_title(loc="left"): axes.get_lines() for axes in figure.axes}

    objective, elbo = lines["Objective"][:2]
    assert objective.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert objective.get_ydata().tolist() == [2, 4, 6, 8, 10]
    assert elbo.get_ydata().tolist() == [-2, -1, 0, 1, 2]
    kl = lines["Parts of the ELBO"][2]
    assert kl.get_xdata().tolist() == [1, 2, 4, 5]
    assert str(kl.get_ydata().tolist()) == "[-4.0, -5.0, nan, -4.0]"
    z, mu, pixels, untrained = lines["k-NN accuracy"]
    assert (z.get_xdata().tolist(), z.get_ydata().tolist()) == ([1, 5], [50, 50])
    assert mu.get_ydata().tolist() == [40, 40]
    assert [list(line.get_ydata()) for line in (pixels, untrained)] == [[30, 30], [20, 20]]


def test_legends_name_sites_as_they_are_called_and_stay_off_the_data(tmp_path):
    sites = ["$x_1$", "_hidden", "位置", "a_rather_long_name_for_a_single_site", "x", "y", "z"]
    rows = [row(1, kl=1.0, **{f"log_likelihood/{site}": 1.0 for site in sites})]
    figure = curves_figure(rows, "100 % of $5_$")
    draw_curves(rows, tmp_path / "curves.png", "100 % of $5_$")
    axes = figure.axes[1]

    labels = legend(axes)
    assert [labels[0], labels[1], labels[2]] == ["log p($x_1$)", "log p(_hidden)", "log p(位置)"]
    assert len(labels) == len(sites) + 1
    assert max(map(len, labels)) <= 28


def test_legends_and_notes_lie_between_title_and_axes():
    figure = curves_figure([everything(1), everything(2)], "run")
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()

    for axes in figure.axes:
        area, outer = axes.get_window_extent(renderer), axes.get_tightbbox(renderer)
        head = axes.get_legend() or axes.texts[0]
        box = head.get_window_extent(renderer)
        name = axes.get_title(loc="left")
        assert box.y0 >= area.y1, f"{name}: covers the data"
        assert box.y1 <= axes._left_title.get_window_extent(renderer).y1, f"{name}: above its title"
        assert box.x1 <= area.x1 + 5, f"{name}: leaves its panel"
        assert 0 <= outer.x0 < outer.x1 <= figure.bbox.width, f"{name}: leaves the picture"


@pytest.mark.parametrize(
    "rows",
    [[], [everything(1)], [everything(e) for e in range(1, 200)], [row(e, elbo=1e30 * e) for e in range(3)]],
    ids=["no-rows", "one-row", "many-rows", "huge-values"],
)
def test_file_is_a_png_of_sane_size(rows, tmp_path):
    path = tmp_path / "curves.png"

    draw_curves(rows, path, "run")

    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert 400 <= width <= 2000
    assert 200 <= height <= 2000
    assert [entry.name for entry in tmp_path.iterdir()] == ["curves.png"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 0.00025, 0.0005, 0.001], ["0", "0.00025", "0.00050", "0.00100"]),
        ([-200, 0, 1500], ["−200", "0", "1,500"]),
        ([11.3141, 11.3142, 11.3143], ["11.3141", "11.3142", "11.3143"]),
        ([0, 1e-6, 2e-6], ["0", "1e−06", "2e−06"]),
        ([1e30, 1.5e30], ["1.0e+30", "1.5e+30"]),
        ([5], ["5"]),
    ],
    ids=["rates", "thousands", "near-by", "tiny", "huge", "single"],
)
def test_ticks_are_short_and_differ(values, labels):
    figure = curves_figure([row(1)], "run")

    assert figure.axes[0].yaxis.get_major_formatter().format_ticks(np.asarray(values, dtype=float)) == labels


def test_drawing_leaves_global_state_alone(tmp_path):
    from matplotlib import _pylab_helpers

    before = dict(mpl.rcParams)

    draw_curves([everything(1)], tmp_path / "curves.png", "run")

    assert dict(mpl.rcParams) == before
    assert _pylab_helpers.Gcf.figs == {}


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(UserError, match=r"file/curves\.png could not be written"):
        draw_curves([row(1)], tmp_path / "file" / "curves.png", "run")
