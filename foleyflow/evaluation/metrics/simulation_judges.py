"""Metrics of the judges trained on simulated clips; not comparable with any published figure."""

from __future__ import annotations

from foleyflow.evaluation.computations import VideoJudged
from foleyflow.evaluation.metric import Metric
from foleyflow.evaluation.metrics.audiovisual import IN_SYNC
from foleyflow.evaluation.metrics.distribution import frechet_metric
from foleyflow.evaluation.metrics.semantics import kl_metric

METRICS = (
    kl_metric(
        "KLD-sim",
        "tagger-sim",
        "ours: divergence of materials plus that of kinds of scenes, by our tagger of "
        "simulated sound; not comparable with any published KLD",
    ),
    frechet_metric(
        "FAD-sim",
        "tagger-sim",
        "ours: Fréchet distance of the embeddings of our tagger of simulated sound, one per "
        "second; not comparable with any published FAD",
    ),
    Metric(
        name="AlignAcc-sim",
        reference="ours: fraction of pairs that our classifier, trained on simulated clips, "
        "accepts as in sync (more than 0.5); not comparable with Diff-Foley's Align Acc",
        computation=VideoJudged(judge="sync-sim", threshold=IN_SYNC),
    ),
)
