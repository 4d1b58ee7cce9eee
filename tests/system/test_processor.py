"""Features and name of the processor, from /proc/cpuinfo or its replacements."""

import pytest

from foleyflow.system import processor

SAPPHIRE = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse2 avx avx2 avx512f avx512bw avx512_bf16 amx_bf16 amx_tile

processor\t: 1
flags\t\t: fpu
"""
ARM = "processor\t: 0\nBogoMIPS\t: 100.00\nFeatures\t: fp asimd avx2like bf16\n"


def test_features_are_full_words_of_the_first_processor():
    assert processor.features_in_cpuinfo(SAPPHIRE) == set(processor.FEATURES)
    assert processor.features_in_cpuinfo("flags : avx avx2 avx512_bf16x") == {"avx2"}


@pytest.mark.parametrize("text", [ARM, "", "flags\n", "no table at all"])
def test_unreported_features_are_absent(text):
    assert processor.features_in_cpuinfo(text) == frozenset()


def test_cpuinfo_is_read(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text(SAPPHIRE, encoding="utf-8")
    monkeypatch.setattr(processor, "CPUINFO", path)
    assert processor.processor_name() == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert processor.processor_features.__wrapped__() == set(processor.FEATURES)


def test_numpy_and_platform_replace_a_missing_cpuinfo(tmp_path, monkeypatch):
    here = processor.processor_features()
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "missing")
    found = processor.processor_features.__wrapped__()
    known_to_numpy = {"avx2", "avx512f"}
    assert found == here & known_to_numpy
    monkeypatch.setattr(processor.platform, "processor", lambda: "")
    monkeypatch.setattr(processor.platform, "machine", lambda: "arm64")
    assert processor.processor_name() == "arm64"


def test_features_are_written_in_a_fixed_order():
    assert processor.feature_text(frozenset(("amx_bf16", "avx2"))) == "avx2 amx_bf16"
    assert processor.feature_text(frozenset()) == "none"
