"""Materials of simulated scenes: one record with acoustic, mechanical and visual constants each.

To add a material, append a record to `MATERIALS`; if none of the procedural textures fits, also
add one to `picture.textures`. The order of the records is the class order of trained models.

Elastic constants and densities are handbook values; where a material varies a lot (wood, rubber,
cardboard) they are those of common objects (a table top, a ball, a box). Damping is Rayleigh
damping: a mode at angular frequency w decays as exp(-d t) with d = (alpha + beta w^2) / 2, so a
decay of 60 dB takes 6.91 / d seconds. The ranges give realistic and clearly different ring times:
metal 2-4 s, glass 0.5-0.9 s, membrane 0.3-0.6 s, ceramic 0.2-0.3 s, wood 80-140 ms, plastic
40-60 ms, stone and cardboard 30-50 ms, rubber 20 ms. Each material also emphasises a frequency
band, because listeners confuse glass with metal and plastic with wood when only the damping
differs (B. Giordano & S. McAdams, "Material identification of real impact sounds", JASA 119(2),
2006).

References: K. van den Doel & D. Pai, "The Sounds of Physical Shapes", Presence 7(4), 1998 (material
perception through damping); J. O'Brien, C. Shen & C. Gatchalian, "Synthesizing Sounds from
Rigid-Body Simulations", SCA 2002 (modal synthesis with Rayleigh damping); Z. Ren, H. Yeh & M. Lin,
"Example-Guided Physically Based Modal Sound Synthesis", ACM TOG 32(1), 2013 (alpha and beta from
recordings: metal 1e0..1e1 and 1e-9..1e-7, wood 1e1..1e2 and 1e-7..1e-6); J. Chadwick, C. Zheng &
D. James, "Precomputed Acceleration Noise for Improved Rigid-Body Sound", ACM TOG 31(4), 2012
(Hertz contact duration, the click caused by the acceleration itself).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How a surface reflects light: ranges of MuJoCo's material parameters.

    Attributes:
        specular: brightness of the highlight, 0..1.
        shininess: sharpness of the highlight, 0..1.
        alpha: opacity, 0..1.
    """

    specular: tuple[float, float]
    shininess: tuple[float, float]
    alpha: tuple[float, float] = (1.0, 1.0)


DULL = Finish(specular=(0.0, 0.15), shininess=(0.0, 0.3))


@dataclass(frozen=True, kw_only=True)
class Material:
    """Acoustic, mechanical and visual constants of one material.

    Attributes:
        name: unique name.
        density_kg_per_m3: mass per volume, for the sound.
        young_pa: Young's modulus; it sets the mode frequencies.
        poisson: Poisson's ratio.
        contact_pa: modulus of the contact surface (lower than `young_pa` where a coating, fibres or
            a stretched membrane give way); it sets the duration of contacts.
        alpha_per_s: (low, high) mass-proportional Rayleigh damping.
        beta_s: (low, high) stiffness-proportional Rayleigh damping.
        band_hz: (low, high) edges of the frequency band that the material emphasises.
        wall_ratio: wall thickness of a hollow body, relative to its smallest size.
        transient: level of the noise at first contact, relative to the modes (1 = equally loud).
        transient_hz: upper edge of that noise.
        transient_s: decay time of that noise (to 1/e).
        roughness_m: correlation length of the surface, for rolling and scraping.
        loudness: level of the modes, relative to wood.
        rigid_density_kg_per_m3: mass per volume in the rigid-body simulation. It differs slightly
            from `density_kg_per_m3`; changing either changes the clips of a seed.
        contact_damping: damping ratio d of a simulated contact; a bounce keeps about
            exp(-pi d / sqrt(1 - d^2)) of the speed.
        sliding_friction: friction coefficient of a simulated contact.
        hollow_box_probability: probability that a box of this material is hollow.
        props: prop (a key of `PROP_MATERIALS`) -> weight, for a material that this table does not
            list.
        texture: a key of `picture.textures.LOOKS`.
        finish: how its surface reflects light.
    """

    name: str
    density_kg_per_m3: float
    young_pa: float
    poisson: float
    contact_pa: float
    alpha_per_s: tuple[float, float]
    beta_s: tuple[float, float]
    band_hz: tuple[float, float]
    wall_ratio: float
    transient: float
    transient_hz: float
    transient_s: float
    roughness_m: float
    loudness: float
    rigid_density_kg_per_m3: float
    contact_damping: float
    sliding_friction: float = 0.45
    hollow_box_probability: float = 0.35
    props: Mapping[str, float] = field(default_factory=dict)
    texture: str
    finish: Finish = DULL

    @property
    def shear_pa(self) -> float:
        """Shear modulus of an isotropic solid, pascal."""
        return self.young_pa / (2 * (1 + self.poisson))

    @property
    def bar_speed_mps(self) -> float:
        """Speed of a longitudinal wave in a thin bar, metres per second."""
        return math.sqrt(self.young_pa / self.density_kg_per_m3)

    @property
    def plate_speed_mps(self) -> float:
        """Speed of a longitudinal wave in a thin plate, metres per second."""
        return self.bar_speed_mps / math.sqrt(1 - self.poisson**2)


MATERIALS: dict[str, Material] = {
    material.name: material
    for material in (
        Material(
            name="wood",
            density_kg_per_m3=650.0,
            young_pa=6.0e9,
            poisson=0.3,
            contact_pa=3.0e9,
            alpha_per_s=(100.0, 180.0),
            beta_s=(2.5e-7, 8.0e-7),
            band_hz=(150.0, 1400.0),
            wall_ratio=0.08,
            transient=0.3,
            transient_hz=3500.0,
            transient_s=0.0025,
            roughness_m=6.0e-4,
            loudness=1.0,
            rigid_density_kg_per_m3=650.0,
            contact_damping=0.28,
            texture="wood",
            finish=Finish(specular=(0.0, 0.5), shininess=(0.1, 0.6)),
        ),
        Material(
            name="metal",
            density_kg_per_m3=7800.0,
            young_pa=2.0e11,
            poisson=0.29,
            contact_pa=2.0e11,
            alpha_per_s=(3.0, 7.0),
            beta_s=(2.0e-9, 1.0e-8),
            band_hz=(300.0, 16000.0),
            wall_ratio=0.012,
            transient=0.2,
            transient_hz=18000.0,
            transient_s=0.0012,
            roughness_m=2.0e-4,
            loudness=0.9,
            rigid_density_kg_per_m3=7000.0,
            contact_damping=0.16,
            texture="metal",
            finish=Finish(specular=(0.4, 1.0), shininess=(0.3, 1.0)),
        ),
        Material(
            name="glass",
            density_kg_per_m3=2500.0,
            young_pa=7.0e10,
            poisson=0.22,
            contact_pa=7.0e10,
            alpha_per_s=(16.0, 30.0),
            beta_s=(5.0e-9, 1.5e-8),
            band_hz=(2500.0, 14000.0),
            wall_ratio=0.03,
            transient=0.2,
            transient_hz=18000.0,
            transient_s=0.001,
            roughness_m=1.5e-4,
            loudness=0.9,
            rigid_density_kg_per_m3=2500.0,
            contact_damping=0.16,
            texture="glass",
            finish=Finish(specular=(0.6, 1.0), shininess=(0.6, 1.0), alpha=(0.3, 0.8)),
        ),
        Material(
            name="ceramic",
            density_kg_per_m3=2400.0,
            young_pa=6.0e10,
            poisson=0.22,
            contact_pa=6.0e10,
            alpha_per_s=(50.0, 80.0),
            beta_s=(3.0e-8, 8.0e-8),
            band_hz=(900.0, 3500.0),
            wall_ratio=0.05,
            transient=0.25,
            transient_hz=9000.0,
            transient_s=0.0015,
            roughness_m=2.5e-4,
            loudness=0.9,
            rigid_density_kg_per_m3=2300.0,
            contact_damping=0.2,
            texture="ceramic",
            finish=Finish(specular=(0.3, 1.0), shininess=(0.5, 1.0)),
        ),
        Material(
            name="plastic",
            density_kg_per_m3=1050.0,
            young_pa=2.4e9,
            poisson=0.37,
            contact_pa=1.0e9,
            alpha_per_s=(220.0, 320.0),
            beta_s=(6.0e-7, 1.5e-6),
            band_hz=(600.0, 2400.0),
            wall_ratio=0.03,
            transient=0.4,
            transient_hz=7000.0,
            transient_s=0.0015,
            roughness_m=3.0e-4,
            loudness=0.9,
            rigid_density_kg_per_m3=1000.0,
            contact_damping=0.22,
            texture="plastic",
            finish=Finish(specular=(0.1, 0.8), shininess=(0.2, 0.9)),
        ),
        Material(
            name="rubber",
            density_kg_per_m3=1100.0,
            young_pa=2.0e7,
            poisson=0.48,
            contact_pa=1.5e7,
            alpha_per_s=(600.0, 1000.0),
            beta_s=(2.0e-5, 6.0e-5),
            band_hz=(70.0, 400.0),
            wall_ratio=0.08,
            transient=0.4,
            transient_hz=450.0,
            transient_s=0.003,
            roughness_m=1.5e-3,
            loudness=0.8,
            rigid_density_kg_per_m3=1100.0,
            contact_damping=0.07,
            sliding_friction=0.9,
            texture="rubber",
            finish=Finish(specular=(0.0, 0.25), shininess=(0.0, 0.3)),
        ),
        Material(
            name="membrane",
            density_kg_per_m3=1380.0,
            young_pa=3.5e9,
            poisson=0.38,
            contact_pa=2.5e7,
            alpha_per_s=(22.0, 50.0),
            beta_s=(2.0e-6, 6.0e-6),
            band_hz=(60.0, 600.0),
            wall_ratio=0.01,
            transient=0.25,
            transient_hz=3500.0,
            transient_s=0.004,
            roughness_m=5.0e-4,
            loudness=0.7,
            rigid_density_kg_per_m3=900.0,
            contact_damping=0.1,
            texture="membrane",
            finish=Finish(specular=(0.0, 0.4), shininess=(0.0, 0.5)),
        ),
        Material(
            name="stone",
            density_kg_per_m3=2650.0,
            young_pa=4.5e10,
            poisson=0.25,
            contact_pa=3.5e10,
            alpha_per_s=(260.0, 450.0),
            beta_s=(1.0e-8, 6.0e-8),
            band_hz=(3500.0, 14000.0),
            wall_ratio=0.12,
            transient=0.9,
            transient_hz=16000.0,
            transient_s=0.003,
            roughness_m=8.0e-4,
            loudness=0.8,
            rigid_density_kg_per_m3=2600.0,
            contact_damping=0.3,
            texture="stone",
        ),
        Material(
            name="cardboard",
            density_kg_per_m3=250.0,
            young_pa=6.0e8,
            poisson=0.3,
            contact_pa=4.0e7,
            alpha_per_s=(260.0, 420.0),
            beta_s=(8.0e-6, 2.0e-5),
            band_hz=(120.0, 700.0),
            wall_ratio=0.02,
            transient=1.6,
            transient_hz=2600.0,
            transient_s=0.018,
            roughness_m=8.0e-4,
            loudness=0.9,
            rigid_density_kg_per_m3=300.0,
            contact_damping=0.6,
            hollow_box_probability=0.8,
            texture="cardboard",
        ),
    )
}
MATERIAL_NAMES = tuple(MATERIALS)

# Prop, tool or floor -> the materials that it may be made of, with relative weights. The order
# of the materials decides which one a seed gives: new materials use `Material.props` instead.
PROP_MATERIALS: dict[str, dict[str, float]] = {
    "any solid": dict.fromkeys(
        ("wood", "metal", "plastic", "stone", "ceramic", "glass", "cardboard", "rubber"), 12.5
    ),
    "bar": {"metal": 25, "wood": 25, "plastic": 25, "stone": 25},
    "stone": {"stone": 60, "rubber": 12, "wood": 10, "plastic": 8, "metal": 10},
    "vessel": {"ceramic": 25, "metal": 20, "glass": 25, "plastic": 20, "wood": 5, "stone": 5},
    "bottle": {"glass": 45, "plastic": 30, "metal": 15, "ceramic": 10},
    "pile": {"stone": 25, "wood": 25, "metal": 25, "plastic": 25},
    "chair": {"wood": 60, "metal": 20, "plastic": 20},
    "railing": {"metal": 70, "wood": 30},
    "hanging": {"metal": 20, "wood": 20, "glass": 20, "ceramic": 20, "plastic": 20},
    "table": {"wood": 40, "metal": 15, "plastic": 15, "glass": 15, "stone": 15},
    "wall": {"wood": 30, "metal": 14, "plastic": 14, "glass": 14, "stone": 14, "cardboard": 14},
    "chopping board": {"wood": 60, "plastic": 25, "stone": 15},
    "kit block": {"wood": 1, "plastic": 1, "metal": 1},
    "mallet bars": {"wood": 40, "metal": 30, "glass": 20, "plastic": 10},
    "drop floor": {"stone": 40, "wood": 40, "ceramic": 12, "plastic": 8},
    "roll floor": {"stone": 30, "wood": 50, "ceramic": 10, "plastic": 10},
    "stick": {"wood": 70, "metal": 15, "plastic": 15},
    "hammer": {"metal": 68, "wood": 16, "rubber": 10, "plastic": 6},
    "spoon": {"metal": 25, "wood": 25, "plastic": 25, "rubber": 25},
}


def sample_material(rng: np.random.Generator, prop: str = "any solid") -> str:
    """Sample the material of a prop by the weights of `PROP_MATERIALS` and `Material.props`."""
    added = {name: record.props[prop] for name, record in MATERIALS.items() if prop in record.props}
    weights = PROP_MATERIALS[prop] | added
    if len(set(weights.values())) == 1:
        return str(rng.choice(list(weights)))
    probabilities = np.array(list(weights.values())) / sum(weights.values())
    return str(rng.choice(list(weights), p=probabilities))
