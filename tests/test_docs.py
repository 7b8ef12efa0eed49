"""Documents say what the code does: made from it, and naming all of it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import project

import dqindex
from dqindex import errors
from dqindex.cli import COMMANDS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "script", ["scripts/cli_reference.py", "scripts/reliability.py", "benchmarks/readme.py"]
)
def test_what_is_made_is_not_stale(script):
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", ["", "build", "sids", "sids extract", "bench run"])
def test_the_page_of_commands_is_what_they_print(words):
    done = subprocess.run(
        [sys.executable, "-m", "dqindex", *words.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    page = (ROOT / "docs" / "cli.md").read_text()
    title = f"dqindex {words}".strip()
    assert f"## `{title}`\n\n```text\n{done.stdout}```\n" in page


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name):
    text = (ROOT / "README.md").read_text()
    assert re.search(rf"dqindex {name}|`{name}`", text)


def test_the_house_is_as_contributing_shows_it():
    """Each file and package at the top of the library has its row, in the order of imports."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = [name for row in re.findall(r"^\| (`.*?) \|", text, re.M) for name in row.split(", ")]
    shown = [name.strip("`/").removesuffix(".py") for name in rows]
    there = {one.stem for one in (ROOT / "dqindex").iterdir() if one.suffix in ("", ".py")}
    assert set(shown) == there - {"__init__", "__main__", "__pycache__", "_version"}
    settings = project()
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    depth = {
        name.strip().removeprefix("dqindex."): place
        for place, layer in enumerate(layers)
        for name in layer.split("|")
    }
    depths = [depth[name] for name in shown]
    assert depths == sorted(depths)


def test_no_function_is_long():
    """Sixty lines of code at most, signature included and docstring not."""
    for file in (ROOT / "dqindex").rglob("*.py"):
        text = file.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = len(ast.get_source_segment(text, node).splitlines())
                if ast.get_docstring(node) is not None:
                    lines -= len(ast.get_source_segment(text, node.body[0]).splitlines())
                assert lines <= 60, f"{file.name}: {node.name} has {lines} lines"


def test_sections_of_docstrings_stand_on_lines_of_their_own():
    """Else numpydoc takes them for a sentence, and the reference lacks them."""
    for file in (ROOT / "dqindex").rglob("*.py"):
        assert not re.search(r"\b[A-Z]\w+ -{4,} ", file.read_text()), file


def test_hooks_have_the_versions_of_the_gate():
    pinned = re.compile(r"\b(ruff|codespell)==([\d.]+)")
    hooks = set(pinned.findall((ROOT / ".pre-commit-config.yaml").read_text()))
    assert hooks == set(pinned.findall((ROOT / "pyproject.toml").read_text()))
    assert len(hooks) == 2


PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md"]

OTHERS = [*ROOT.glob("examples/*.ipynb"), ROOT / "mkdocs.yml", ROOT / "CITATION.cff"]


def test_links_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_addresses_of_this_project_lead_somewhere():
    """Those of the repository to files, those of the site to pages, as pyproject.toml has them."""
    urls = project()["project"]["urls"]
    site, repository = urls["Documentation"], urls["Repository"]
    raw = repository.replace("github.com", "raw.githubusercontent.com")
    files = re.compile(rf"(?:{repository}/blob/main|{raw}/main)/([\w./-]+)")
    pages = re.compile(rf"{site}([\w/-]*)")
    found = 0
    for page in [*PAGES, *OTHERS]:
        text = page.read_text()
        for name in files.findall(text):
            found += 1
            assert (ROOT / name).exists(), f"{page.name}: {name}"
        for name in pages.findall(text):
            found += 1
            source = ROOT / "docs" / f"{name.strip('/') or 'index'}.md"
            folder = ROOT / "docs" / name / "index.md"
            assert source.exists() or folder.exists(), f"{page.name}: {name}"
        # None of another place, left behind by a move.
        for address in re.findall(r"https://\S*dqindex\S*", text):
            assert address.startswith((site, repository, raw)), f"{page.name}: {address}"
    assert found > 20


def test_the_readme_is_short_and_its_links_hold_everywhere():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert all(target.startswith("https://") for target in re.findall(r"\]\(([^)]+)\)", text))


def test_every_public_name_has_its_place_in_the_reference():
    names = {f"dqindex.{name}" for name in dqindex.__all__} - {
        "dqindex.__version__",
        "dqindex.errors",
    }
    names |= {f"dqindex.errors.{name}" for name, kind in vars(errors).items() if is_public(kind)}
    engines = ("append", "build_index", "encode", "evaluate", "fit", "linkage", "semantic_ids")
    names |= {f"dqindex.{engine}.{name}" for engine in ("spark", "ray") for name in engines}
    text = "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
    shown = re.findall(r"^::: (\S+)$", text, re.M)
    assert sorted(shown) == sorted(names)


def is_public(kind):
    """Whether something in `dqindex.errors` is a class of it."""
    return isinstance(kind, type) and kind.__module__ == "dqindex.errors"


def test_the_citation_has_the_version():
    assert f"\nversion: {dqindex.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_results_say_what_made_them():
    import json

    results = list((ROOT / "benchmarks" / "results").glob("*.json"))
    assert results
    for file in results:
        record = json.loads(file.read_text())
        # A setting of the environment may stand before it.
        assert re.match(r"(\w+=\w+ )*(python benchmarks/|pytest tests/)", record["command"])
        assert {"machine", "versions", "rows"} <= set(record)
        assert file.stat().st_size < 2**20
