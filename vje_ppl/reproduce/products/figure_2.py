"""Figure 2: the Student-t loss and its influence function, with the Gaussian limit."""

from __future__ import annotations

import math

import numpy as np
import torch

from vje_ppl.distributions import StudentT
from vje_ppl.pictures.style import COLOURS, FAINT, frame, legend, new_figure
from vje_ppl.reproduce.results import Product, Results

DEGREES = (1.0, 2.0, 5.0, 30.0, math.inf)
LARGEST, POINTS = 8.0, 321  # residual, in scales


def figure_2(results: Results) -> Product:
    """Draw −log p(r) + log p(0) and its derivative in r, for a scale of 1, from the density that models use."""
    residual = torch.linspace(-LARGEST, LARGEST, POINTS, dtype=torch.float64, requires_grad=True)
    rows, curves = [], []
    for number, df in enumerate(DEGREES):
        zero, one = residual.new_zeros(()), residual.new_ones(())
        density = torch.distributions.Normal(zero, one) if math.isinf(df) else StudentT(df * one, zero, one)
        loss = density.log_prob(zero) - density.log_prob(residual)
        (influence,) = torch.autograd.grad(loss.sum(), residual)
        points = zip(residual.tolist(), loss.tolist(), influence.tolist(), strict=True)
        rows += [{"nu": df, "residual": r, "loss": one_loss, "influence": slope} for r, one_loss, slope in points]
        curves.append((df, number, loss.detach().numpy(), influence.numpy()))
    figure = new_figure(8.0, 3.4, results.study.title, "scale 1; the loss is −log p(r) + log p(0), in nats")
    for place, (title, unit) in enumerate([("Loss", "nats"), ("Influence", "nats per unit of residual")]):
        axes = figure.add_subplot(1, 2, place + 1)
        for df, number, *values in curves:
            name = "∞ (Gaussian)" if math.isinf(df) else f"{df:g}"
            colour = FAINT if math.isinf(df) else COLOURS[number]
            style = (0, (5, 2)) if math.isinf(df) else "solid"
            axes.plot(residual.detach().numpy(), values[place], color=colour, linestyle=style, label=f"ν = {name}")
        frame(axes, title, unit, x="residual r", grid="both")
        axes.set_xlim(-LARGEST, LARGEST)
    shown = max(float(np.abs(influence).max()) for df, _, _, influence in curves if df < 30)
    figure.axes[0].set_ylim(-0.3, 12)
    figure.axes[1].set_ylim(-2.5 * shown, 2.5 * shown)
    legend(figure.axes[0], loc="upper center")
    return Product(rows, (), figure)
