"""What a release checks, and the workflows that make one."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import project

ROOT = Path(__file__).parent.parent
release = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "release.py")))

LOG = """# Changelog

## 0.2.0 (2027-01-31)

- More.

## 0.1.0 (unreleased)

- All (of it).
"""
CITED = "title: x\nversion: 0.2.0\n"


def test_notes_are_those_of_the_version():
    assert release.notes(LOG) == {
        "0.2.0": ("2027-01-31", "- More.\n"),
        "0.1.0": ("unreleased", "- All (of it).\n"),
    }


@pytest.mark.parametrize(
    ("tag", "current", "cited", "why"),
    [
        ("v0.2.0", "0.2.0", CITED, None),
        ("v0.2.1", "0.2.0", CITED, "the tag is v0.2.1, and dqindex/_version.py has 0.2.0"),
        ("v0.3.0", "0.3.0", CITED, "CHANGELOG.md has no notes of 0.3.0"),
        ("v0.1.0", "0.1.0", CITED, "calls 0.1.0 unreleased: give the day"),
        ("v0.2.0", "0.2.0", "version: 0.1.0\n", "CITATION.cff is not of version 0.2.0"),
    ],
)
def test_a_tag_is_refused_with_the_reason(tag, current, cited, why):
    found = release.refusal(tag, current, release.notes(LOG), cited)
    assert found is why is None or (why is not None and why in found)


def test_the_changelog_has_notes_of_this_version():
    found = release.notes((ROOT / "CHANGELOG.md").read_text())
    assert len(found[release.version()][1]) > 100


def test_the_workflows_run_scripts_that_are_there():
    workflows = list((ROOT / ".github" / "workflows").glob("*.yml"))
    assert len(workflows) >= 4
    named = set()
    for workflow in workflows:
        named |= set(
            re.findall(r"(?:bash|python3?) ((?:\.ci|scripts)/[\w.]+)", workflow.read_text())
        )
    assert named >= {".ci/run", ".ci/sdist", ".ci/site", "scripts/release.py"}
    assert all((ROOT / name).is_file() for name in named)


def test_the_source_distribution_has_all_that_its_tests_read():
    settings = project()
    include = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for needed in ("benchmarks", "docs", "dqindex", "mkdocs.yml", "scripts", "tests", ".ci"):
        assert needed in include
