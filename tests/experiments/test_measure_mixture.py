"""The flow's losses on a known mixture of quiet and loud latents: no bias towards either."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from foleyflow.experiments.measure_mixture import (
    LOUD,
    NETWORK,
    QUIET,
    SAMPLES,
    MixtureSteps,
    is_loud,
    measure_mixture,
    mixture_figures,
    sample_mixture,
)


def test_figures_of_the_mixture_itself():
    samples = sample_mixture(SAMPLES, seed=0)
    figures = mixture_figures(samples)
    assert figures["loud_fraction"] == pytest.approx(0.5, abs=0.003)
    assert figures["relative_variance"] == pytest.approx(1.0, abs=0.03)
    # Every other clip is loud, and 16 numbers nearly always show which
    wrong = is_loud(samples) != (torch.arange(SAMPLES) % 2 == 1)
    assert float(wrong.float().mean()) < 0.003
    quiet = mixture_figures(QUIET * torch.randn(1000, 8, 2))
    assert quiet["loud_fraction"] < 0.01
    variance = QUIET**2 / (0.5 * (QUIET**2 + LOUD**2))
    assert quiet["relative_variance"] == pytest.approx(variance, rel=0.1)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return measure_mixture(
        tmp_path_factory.mktemp("mixture"),
        steps=MixtureSteps(flow_matching=1000, one_step=800, distillation=0),
        network=replace(NETWORK, width=48),
        batch_clips=128,
    )


def test_flow_matching_generates_both_parts_of_the_mixture(report):
    assert report["flow_matching"]["loud_fraction"] == pytest.approx(0.5, abs=0.03)
    assert report["flow_matching"]["relative_variance"] == pytest.approx(1.0, abs=0.05)


def test_one_step_generates_both_parts_of_the_mixture(report):
    assert report["one_step"]["loud_fraction"] == pytest.approx(0.5, abs=0.05)
    assert report["one_step"]["relative_variance"] == pytest.approx(1.0, abs=0.1)
