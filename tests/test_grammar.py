"""Every word of FAISS's grammar, alone and behind a DQ, with each metric.

It builds and finds, or it is refused before any work with the true reason; it never crashes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import faiss
import numpy as np
import pytest
from conftest import clustered

from dqindex import build_index
from dqindex.errors import SpecError
from dqindex.index.anatomy import dissect
from dqindex.index.grammar import check_words
from dqindex.index.spec import make_index, parse_spec
from dqindex.index.words import CODES, REFUSED, TRANSFORMS

METRICS = ("l2", "ip", "cosine")
WIDTH, ROWS = 16, 600
# Stores that hold vectors as they are, or nearly; the others are codes of few bits.
EXACT = """
    Flat SQ8 SQ6 SQfp16 SQbf16 RaBitQ8 RaBitQfs8 HNSW8 HNSW8,Flat HNSW8_SQ8 HNSW8_SQfp16
    IVF4,Flat IVF4,FlatDedup IVF4,FlatPanorama IVF4,FlatPanorama4 IVF4,SQ8 IVF4_HNSW8,Flat
    IVF4(HNSW8),Flat IVF4(Flat),SQ8 PQ4x4,RFlat PQ4x4,Refine(SQ8) PQ4x4,Refine(Flat) RaBitQ,RFlat
    HNSW8,RFlat IVF4,PQ4x4fs,Refine(SQfp16) PCA16,Flat PCAR16,Flat RR,Flat RR24,Flat HR,SQ8
    HR32,Flat Pad20,Flat Pad8,Flat
""".split()
CODED = """
    SQ4 SQtq3 SQtq4 SQtq5 PQ4x4 PQ4x5 PQ8x4 PQ8x4np PQ4x8 PQ16x4 PQ8x4fs PQ8x4fs_64 PQ16x4fs
    RQ4x4 RQ2x5_1x4 RQ4x4_Nfloat RQ4x4_Nqint8 RQ4x4_Nrq2x4 LSQ4x4 PRQ2x2x4 PLSQ2x2x4
    RaBitQ RaBitQ2 RaBitQfs RaBitQfs2_64 HNSW8_SQ4
    IVF4,SQ4 IVF4,SQtq4 IVF4,PQ8x4 IVF4,PQ4x5np IVF4,PQ8x4fs IVF4,PQ8x4fsr IVF4,PQ8x4fsr_64
    IVF4,RQ4x4 IVF4,RQ4x4_Nqint8 IVF4,LSQ4x4 IVF4,PRQ2x2x4 IVF4,PLSQ2x2x4
    IVF4,RaBitQ IVF4,RaBitQ4 IVF4,RaBitQfs IVF4,RaBitQfs4 IVF4_HNSW8,PQ8x4
    PQ4x4,Refine(PQ8x4) PCA12,PQ4x4 RR,PQ4x4 RR,RaBitQ
""".split()
# Where only some metrics are served; the others are refused.
SOME = {
    "IMI2x2,Flat": "l2 cosine",
    "IMI2x2,PQ8x4": "l2 cosine",
    "IVF4,PQ4+4": "l2 cosine",
    "HNSW8_PQ8x4": "l2 cosine",
    "HNSW8,PQ4x8np": "l2 cosine",
    "HNSW8_RaBitQ": "l2 cosine",
    "HNSW8_FlatPanorama": "l2 cosine",
    "HNSW8_FlatPanorama4": "l2 cosine",
    "LSH,RFlat": "l2 cosine",
    "LSH12,RFlat": "l2 cosine",
    "LSH40rt,RFlat": "l2 cosine",
    "SQtqmse4": "cosine",
    "SQtqmse8": "cosine",
    "IVF4,SQtqmse4": "cosine",
    "L2norm,Flat": "cosine",
    "RQ4x4_Nnone": "ip",
    "RQ4x4fs": "ip",
    "PRQ2x2x4fs_64": "ip",
    "IVF4,LSQ4x4fs": "ip",
    "IVF4,PRQ2x2x4fsr": "ip",
    "RQ4x4fs_32_Nrq2x4": "l2 cosine",
    "IVF4,RQ4x4fsr_32_Nrq2x4": "l2 cosine",
    "PRQ2x2x4fs_32_Nlsq2x4": "l2 cosine",
}
# FAISS's own OPQ learns for seconds.
SLOW = ["OPQ4,PQ4x4", "OPQ4_20,PQ4x4", "OPQ4_8,IVF4,PQ4x4"]
NEVER = {
    "": "ends before an index",
    "DQ4": "ends before an index",
    "IVF4": "IVF4 needs what its lists store",
    "IVF0,Flat": "0 lists; give 1 to",
    "DQ8,IVF0,PQ8x4": "0 lists; give 1 to",
    "IVF99999999999,Flat": "99999999999 is more than fits",
    "IVF4000M,Flat": "4194304000 lists; give 1 to",
    "IMI2x0,Flat": "0 bits; give 1 to 12",
    "IMI2x13,Flat": "13 bits; give 1 to 12",
    "NSG32": "built of all vectors at once",
    "NSG8,PQ4x4": "built of all vectors at once",
    "IVF4_NSG4,Flat": "built of all vectors at once",
    "HNSW0": "0 links a vector; give 2 to 1024",
    "HNSW1": "1 links a vector; give 2 to 1024",
    "HNSW8_4+PQ4": "no compact form",
    "HNSW8_2x2+PQ4": "no compact form",
    "HNSW8_RQ4x4": "RQ4x4 can't stand behind HNSW; it may stand alone or behind IVF",
    "HNSW8,PQ0": "0 subspaces; give at least 1",
    "IVF4_HNSW0,Flat": "0 links a vector",
    "IVF4_HNSW1,Flat": "1 links a vector",
    "IVF4(HNSW1),Flat": "1 links a vector",
    "IVF64(IVF8,PQ16)": "a quantizer of lists may be Flat or HNSW",
    "IVF4(IVF2,Flat),Flat": "a quantizer of lists may be Flat or HNSW",
    "IVF4(PQ4x4),Flat": "a quantizer of lists may be Flat or HNSW",
    "IVF16(RCQ2x2),Flat": "a quantizer of lists may be Flat or HNSW",
    "PQ16x1": "1 bits a code; give 4 to 16",
    "PQ8x2": "2 bits a code; give 4 to 16",
    "PQ4x0": "0 bits a code; give 4 to 16",
    "PQ4x17": "17 bits a code; give 4 to 16",
    "PQ0": "0 subspaces; give at least 1",
    "PQ7": "7 subspaces do not divide the width 16",
    "PQ99999999999": "more than fits",
    "PQ4x4fs_0": "blocks of 0; give a multiple of 32",
    "PQ4x4fs_33": "blocks of 33; give a multiple of 32",
    "PQ4x4fsr": "can't stand alone; it may stand behind IVF",
    "PQ0x4fs": "0 subspaces",
    "IVF4,PQ4x3": "3 bits a code",
    "IVF4,PQ4+3": "3 subspaces do not divide",
    "IVF4,SQ8_direct": "can't stand behind IVF",
    "RQ0x4": "0 levels; give 1 to 1024",
    "RQ4x0": "0 bits a code; give 1 to 16",
    "RQ4x17": "17 bits a code",
    "RQ2x4_0x4": "0 levels",
    "PRQ0x2x4": "0 splits",
    "PRQ3x2x4": "3 splits do not divide the width 16",
    "RCQ2x4": "finds lists, and stores no vectors",
    "LSCQ2x4": "finds lists, and stores no vectors",
    "RaBitQ0": "not a word of a spec",
    "RaBitQfs_7": "blocks of 7",
    "LSH": "counts bits that differ",
    "LSH0,RFlat": "0 bits",
    "LSH24,RFlat": "use LSH24r",
    "ITQ,LSH": "scales vectors to length 1",
    "IVF4,ITQ8,SH": "scales vectors to length 1",
    "IVF4,SH": "counts bits that differ",
    "PCAW16,Flat": "scales the axes",
    "PCA0,Flat": "0 components; give 1 to 16",
    "PCA17,Flat": "17 components; give 1 to 16",
    "OPQ0,Flat": "0 subspaces",
    "OPQ3,Flat": "3 subspaces do not divide",
    "OPQ4_0,Flat": "0 components",
    "RR0,Flat": "0 components",
    "ZnLattice4x10_6": "does not write its codes",
    "ZnLattice0x10_6": "does not write its codes",
    "MinMax,SQ8": "only encodes",
    "MinMaxFP16,SQ8": "only encodes",
    "Residual4,PQ4": "only encodes",
    "FlatL2Panorama4_8": "than a batch of it holds",
    "FlatIPPanorama4": "than a batch of it holds",
    "IVF4,FlatPanorama0": "0 levels",
    "IDMap,Flat": "leave out IDMap",
    "Flat,IDMap2": "leave out IDMap",
    "PQ4x4,Refine(PQ4x4fs)": "PQ4x4fs can't stand in Refine",
    "PQ4x4,Refine(IVF4,Flat)": "IVF4,Flat can't refine",
    "PQ4x4,Refine(HNSW8)": "HNSW8 can't refine",
    "PQ4x4,Refine(SQ8),RFlat": "stands behind a whole index",
    "RFlat": "refines an index, which must stand before it",
    "Flat,Flat": "stands behind a whole index",
    "Flat,": "stands behind a whole index",
    "IVF4,PCA8,Flat": "PCA8 can't stand behind IVF4; it stands before the index",
    "IVF4,DQ4,PQ4x4": "DQ4 can't stand behind IVF4; it stands before the index",
    "HNSW8_Flat,SQ8": "stands behind a whole index",
    "DQ4,PCA8,PQ4x4": "mixes the axes that DQ balances",
    "SVSFlat": "dqindex builds no such index",
    "nonsense": "not a word of a spec",
    "IVF4,nonsense": "not a word of a spec behind IVF4",
    "Flat)": "parentheses do not match",
    "IVF4(": "parentheses do not match",
}


def behind_dq(spec: str) -> str:
    """`spec` behind the DQ that fits it."""
    subspaces = re.search(r"(?:^|[_,])PQ(\d+)", spec)
    return f"DQ{subspaces[1] if subspaces else 4},{spec}"


def built() -> dict[str, tuple[str, ...]]:
    """Each spec that is served, with its metrics."""
    specs: dict[str, tuple[str, ...]] = dict.fromkeys([*EXACT, *CODED], METRICS)
    specs |= {spec: tuple(metrics.split()) for spec, metrics in SOME.items()}
    return specs | {
        behind_dq(spec): metrics
        for spec, metrics in specs.items()
        if not any(re.fullmatch(one.pattern, spec.partition(",")[0]) for one in TRANSFORMS)
    }


def walk(lines: list[str]) -> dict[str, dict[str, object]]:
    """What a child process says of each line; a crash is told of the line that it began."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("walk_grammar.py"))],
        input="".join(f"{line}\n" for line in lines),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    said: dict[str, dict[str, object]] = {}
    current = ""
    for line in done.stdout.splitlines():
        if line.startswith("BEGIN "):
            current = line.removeprefix("BEGIN ")
            said[current] = {"raw": f"exit {done.returncode}: {done.stderr[-300:]}"}
        elif line.startswith("{"):
            said[current] = json.loads(line)
    assert len(said) == len(lines), done.stderr[-2000:]
    # FAISS's own, of few vectors, is for nobody: it comes past Python.
    assert "WARNING" not in done.stderr, done.stderr[-2000:]
    return said


def check_found(spec: str, metric: str, answer: dict[str, object]) -> str:
    """What is wrong with an answer; empty where nothing is."""
    if "recall" not in answer:
        return str(answer)
    plain = spec.split(",", 1)[1] if spec.startswith("DQ") else spec
    least = {"recall": 0.9, "nearest": 0.95} if plain in EXACT else {"recall": 0.3, "nearest": 0.5}
    wrong = [name for name, value in least.items() if float(str(answer[name])) < value]
    kind = faiss.METRIC_INNER_PRODUCT if metric == "ip" else faiss.METRIC_L2
    if wrong or answer["n"] != ROWS or answer["metrics"] != [kind]:
        return str(answer)
    if not answer["ordered"] or float(str(answer["same"])) < 0.99:
        return str(answer)
    return ""


FEW, NARROW = 30, 3
NARROW_SPECS = """
    Flat SQ8 SQ4 SQtq4 SQtqmse4 PQ1x4 PQ3x4 PQ3x4fs RQ2x4 LSQ2x4 PRQ3x1x4 RaBitQ RaBitQfs RaBitQ4
    HNSW8 HNSW8_SQ8 HNSW8_PQ3x4 HNSW8_RaBitQ HNSW8_FlatPanorama IVF4,Flat IVF4,SQ8 IVF4,PQ1x4
    IVF4,PQ3x4fsr IVF4,RaBitQ IVF4,RaBitQfs IVF4,FlatPanorama IVF4,FlatPanorama3 IVF4_HNSW8,PQ3x4
    HR,Flat RR,Flat Pad8,PQ8x4 DQ1,PQ1x4 DQ3,IVF4,PQ3x4fs DQ8,PQ8x4 PCA1,Flat LSH,RFlat
""".split()


def line(metric: str, spec: str, width: int = WIDTH, rows: int = ROWS) -> str:
    """What the child is asked."""
    return f"{metric} {width} {rows} {spec}"


@pytest.fixture(scope="module")
def answers(request):
    """What becomes of every spec below, in one child process."""
    specs = served(request)
    lines = [line(metric, spec) for spec, metrics in specs.items() for metric in metrics]
    lines += [line(metric, spec) for spec, metric in others(specs)]
    lines += [line(metric, spec) for spec in NEVER for metric in METRICS]
    lines += [line("l2", spec, rows=FEW) for spec, metrics in specs.items() if "l2" in metrics]
    lines += [line(metric, spec, width=NARROW) for spec in NARROW_SPECS for metric in METRICS]
    return walk(lines)


def served(request):
    return built() | (dict.fromkeys(SLOW, METRICS) if request.config.getoption("--long") else {})


def others(specs):
    """Each spec with the metrics that it does not serve."""
    return [(spec, one) for spec in specs for one in METRICS if one not in specs[spec]]


def test_each_word_builds_and_finds_by_the_metric_asked_for(answers, request):
    asked = [(spec, metric) for spec, metrics in served(request).items() for metric in metrics]
    faults = [(*one, check_found(*one, answers[line(one[1], one[0])])) for one in asked]
    assert not (wrong := [fault for fault in faults if fault[2]]), "\n".join(map(str, wrong))


def test_other_metrics_are_refused_before_any_work(answers, request):
    refused = others(served(request))
    assert len(refused) > 30
    for spec, metric in refused:
        answer = answers[line(metric, spec)]
        assert answer.get("worked") is False, (spec, metric, answer)
        said = str(answer["refused"])
        assert re.search(
            "use l2 or cosine|use cosine|use IVF|leave out _N|_Nrq2x4|the norm", said
        ), said
        assert "FAISS 1" not in said


@pytest.mark.parametrize("spec", NEVER)
def test_what_can_not_be_built_is_refused_with_the_reason(answers, spec):
    for metric in METRICS:
        answer = answers[line(metric, spec)]
        assert answer.get("worked") is False, answer
        assert NEVER[spec] in str(answer["refused"])
        # In our words: FAISS was not asked.
        assert "says" not in str(answer["refused"])


def test_too_few_vectors_are_refused_or_serve(answers, request):
    few = {
        spec: answers[line("l2", spec, rows=FEW)]
        for spec in served(request)
        if line("l2", spec, rows=FEW) in answers
    }
    wrong = {
        spec: answer for spec, answer in few.items() if not {"recall", "refused"} & set(answer)
    }
    assert not wrong, wrong
    refused = [spec for spec, answer in few.items() if "refused" in answer]
    assert {"PQ4x5", "PQ4x8", "RQ2x5_1x4", "IVF4,PQ4+4"} <= set(refused)
    for spec in refused:
        assert few[spec]["worked"] is False, few[spec]
        assert "30 vectors are too few" in str(few[spec]["refused"])


def test_narrow_vectors(answers):
    for spec in NARROW_SPECS:
        for metric in METRICS:
            answer = answers[line(metric, spec, width=NARROW)]
            assert {"recall", "refused"} & set(answer), (spec, metric, answer)
            assert "says" not in str(answer.get("refused")), answer


def test_every_word_of_the_table_is_walked():
    specs = [*built(), *SLOW, *NEVER]
    words = {word for spec in specs for word in re.split(r"[,_()]|(?<=Refine)", spec)} | set(
        ",".join(specs).split(",")
    )
    words |= {spec.partition("_")[2] for spec in specs} | {"SQ8_direct"}
    for pattern in [one.pattern for one in (*CODES, *TRANSFORMS)] + [one for one, _ in REFUSED]:
        assert any(re.fullmatch(pattern, word) for word in words), pattern


@pytest.mark.parametrize(
    "spec",
    ["PCA9", "OPQ4", "OPQ4_20", "RR", "RR5", "RR24", "HR", "HR20", "HR5", "Pad20", "Pad5"],
)
@pytest.mark.parametrize("d", [16, 12])
def test_widths_are_those_of_faiss(spec, d):
    made = faiss.index_factory(d, f"{spec},Flat")
    assert check_words([spec, "Flat"], d) == [d, made.index.d]


def test_a_part_of_another_metric_is_refused(monkeypatch):
    monkeypatch.setattr("dqindex.index.spec.check_words", lambda words, *_: [16])
    for spec in ("HNSW8_PQ4x4", "ZnLattice4x10_6", "NSG8,PQ4x4"):
        with pytest.raises(SpecError, match="by another metric than ip"):
            make_index(parse_spec(spec, 16), 16, "ip")


def test_what_faiss_refuses_is_said_with_its_version(monkeypatch):
    monkeypatch.setattr("dqindex.index.spec.check_words", lambda words, *_: [16])
    with pytest.raises(
        SpecError, match=r"FAISS \d+\.\d+\.\d+ says: could not parse index string nil"
    ):
        make_index(parse_spec("nil", 16), 16, "l2")


@pytest.mark.parametrize("spec", ["PCA16,Flat", "PCAR12,IVF4,Flat"])
def test_inner_products_are_not_centred_by_pca(spec):
    x = clustered(600, 16) + np.float32(3)
    index = build_index(x, spec, metric="ip")
    assert not dissect(index.index).chain[0].have_bias
    assert dissect(build_index(x, spec).index).chain[0].have_bias


@pytest.mark.parametrize(
    "spec",
    """
    RQ4x5 RQ2x4_Nrq2x4 PRQ2x2x5 LSQ4x4fs_32_Nrq2x4 IVF4,PRQ2x2x4fsr_32_Nrq2x4 IVF4,PQ4+4
    OPQ4,PQ4x4 DQ4,IVF4,RQ2x5 IMI2x4,Flat PQ4x4,Refine(PQ8x4)
    """.split(),
)
def test_no_warning_of_faiss_reaches_the_terminal(spec, capfd):
    build_index(clustered(300, WIDTH), spec)
    assert capfd.readouterr().err == ""
