"""What each material of `contacts.MATERIALS` is made of, as far as one can hear it.

Numbers only: no sound is made here. Elastic constants and densities are handbook values; where a
material varies a lot (wood, rubber, cardboard) they are those of common objects (a table top, a
ball, a box). Damping is Rayleigh's: a mode at angular frequency w decays as exp(-d t) with
d = (alpha + beta w^2) / 2, so that 60 dB take 6.91 / d seconds. The ranges were chosen so that
ring times are those one hears, and apart: metal 2-4 s, glass 0.5-0.9 s, membrane 0.3-0.6 s,
ceramic 0.2-0.3 s, wood 80-140 ms, plastic 40-60 ms, stone and cardboard 30-50 ms, rubber 20 ms.
Each material also has a band in which it is heard best. Real glass and metal, or plastic and wood,
are told apart poorly by their damping alone (B. Giordano & S. McAdams, "Material identification
of real impact sounds", JASA 119(2), 2006); a sound that is to fit a picture should say what it is.

Sources: K. van den Doel & D. Pai, "The Sounds of Physical Shapes", Presence 7(4), 1998 (material
heard through damping); J. O'Brien, C. Shen & C. Gatchalian, "Synthesizing Sounds from Rigid-Body
Simulations", SCA 2002 (modal synthesis with Rayleigh damping); Z. Ren, H. Yeh & M. Lin,
"Example-Guided Physically Based Modal Sound Synthesis", ACM TOG 32(1), 2013 (alpha and beta from
recordings: metal 1e0..1e1 and 1e-9..1e-7, wood 1e1..1e2 and 1e-7..1e-6); J. Chadwick, C. Zheng &
D. James, "Precomputed Acceleration Noise for Improved Rigid-Body Sound", ACM TOG 31(4), 2012
(Hertz contact duration, the click of the acceleration itself).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Material:
    """One material's elastic, damping and contact behaviour.

    Attributes:
        name: one of `contacts.MATERIALS`.
        density_kg_per_m3: mass per volume.
        young_pa: Young's modulus, sets mode frequencies.
        poisson: Poisson's ratio.
        contact_pa: modulus of the surface in contact (softer than `young_pa` where a skin, fibres
            or a tension give way); sets the duration of contacts.
        alpha_per_s: (low, high) mass-proportional Rayleigh damping.
        beta_s: (low, high) stiffness-proportional Rayleigh damping.
        band_hz: (low, high) edges of the band in which its modes are heard best.
        wall_ratio: wall thickness of a hollow body, relative to its smallest size.
        transient: level of the noise at first touch, relative to the modes (1 = as loud).
        transient_hz: upper edge of that noise.
        transient_s: its decay time (to 1/e).
        roughness_m: correlation length of the surface, for rolling and scraping.
        loudness: level of the modes, relative to wood.
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


BY_NAME: dict[str, Material] = {
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
        ),
    )
}
