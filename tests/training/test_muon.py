"""Muon for the matrices of blocks: orthogonal updates, the choice of parameters, convergence."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from foleyflow.errors import ConfigError
from foleyflow.training.checkpoint import TrainState, load_state, save_state
from foleyflow.training.optimiser import ADAMW_RMS, MovingAverage, make_optimiser, orthogonalise
from foleyflow.training.task import TrainConfig

CONFIG = TrainConfig(steps=10, batch_clips=1, muon=True, learning_rate=0.01, weight_decay=0.0)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.input = nn.Linear(4, 8)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks[0](self.input(x))


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (20, 20)])
def test_an_orthogonalised_matrix_has_singular_values_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonalise(matrix)
    values = torch.linalg.svdvals(found)
    assert 0.5 < float(values.min()) and float(values.max()) < 1.3
    # The directions are those of the matrix
    aligned = (u.T @ found @ v.T).diagonal()
    assert float(aligned.min()) > 0.5 and float((found - u * aligned @ v).norm()) < 0.7


def test_only_matrices_of_blocks_follow_muon():
    module = Network()
    optimiser = make_optimiser(module, CONFIG)
    chosen = {id(p) for group in optimiser.param_groups if group["muon"] for p in group["params"]}
    assert chosen == {id(module.blocks[0][0].weight)}
    every = [p for group in optimiser.param_groups for p in group["params"]]
    assert {id(p) for p in every} == {id(p) for p in module.parameters()}
    plain = make_optimiser(module, replace(CONFIG, muon=False))
    assert not any(group["muon"] for group in plain.param_groups)


def test_an_update_has_the_size_of_adamw():
    module = Network()
    optimiser = make_optimiser(module, CONFIG)
    before = module.blocks[0][0].weight.detach().clone()
    module(torch.randn(64, 4)).square().sum().backward()
    optimiser.step()
    change = module.blocks[0][0].weight.detach() - before
    size = float(change.square().mean().sqrt())
    assert size == pytest.approx(CONFIG.learning_rate * ADAMW_RMS, rel=0.4)


def test_a_network_learns_and_its_optimiser_can_be_stored():
    torch.manual_seed(0)
    module, wanted = Network(), Network()
    optimiser = make_optimiser(module, CONFIG)
    x = torch.randn(128, 4)
    errors = []
    for step in range(200):
        if step == 100:  # as in a checkpoint
            restored = make_optimiser(module, CONFIG)
            restored.load_state_dict(optimiser.state_dict())
            optimiser = restored
        error = (module(x) - wanted(x).detach()).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(float(error.detach()))
    assert errors[-1] < 0.1 * errors[0]
    assert errors[101] < 1.5 * errors[99]


def test_a_checkpoint_restores_both_kinds_of_state(tmp_path):
    def new_state() -> TrainState:
        torch.manual_seed(0)
        module = Network()
        return TrainState(
            modules={"main": module},
            averages={"main": MovingAverage(module, 0.9)},
            optimisers={"main": make_optimiser(module, CONFIG)},
        )

    def update_(state: TrainState) -> None:
        module, optimiser = state.modules["main"], state.optimisers["main"]
        optimiser.zero_grad()
        module(torch.linspace(-1, 1, 32).reshape(8, 4)).pow(3).mean().backward()
        optimiser.step()

    state, restored = new_state(), new_state()
    update_(state)
    save_state(tmp_path, state, step=1)
    assert load_state(tmp_path, restored) == 1
    for each in (state, restored):
        update_(each)
    one, other = (each.modules["main"].state_dict() for each in (state, restored))
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_muon_can_not_be_sharded():
    with pytest.raises(ConfigError, match=r"train.muon and train.shard are both set"):
        replace(CONFIG, shard=True)
