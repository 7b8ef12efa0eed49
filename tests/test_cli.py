"""The command line, as a user has it: a process of its own."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import clustered, command_line

from dqindex import open_index
from dqindex.cli import COMMANDS, cli


@pytest.fixture
def base(tmp_path):
    np.save(tmp_path / "v.npy", clustered(3000, 20))
    np.save(tmp_path / "q.npy", clustered(3000, 20)[:6])
    return tmp_path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An index and a model of the vectors of `base`, as the command line makes them."""
    folder = tmp_path_factory.mktemp("made")
    np.save(folder / "v.npy", clustered(3000, 20))
    run = command_line(folder)
    for words in ("build v.npy -o i --spec DQ4,PQ4", "fit v.npy -o m.safetensors -L 4 -K 16"):
        assert run(*words.split()).returncode == 0
    return folder


@pytest.fixture
def stocked(base, made):
    """`base`, with an index and a model of its vectors."""
    shutil.copytree(made, base, dirs_exist_ok=True)
    return base


def failed(done, code: int, *words: str) -> None:
    """Exit code, one clear line on stderr, nothing on stdout."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    if code == 1:
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_build_search_info(base, run):
    done = run("build", "v.npy", "-o", "i", "--spec", "DQ4,IVF16,PQ4", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout)["n"] == 3000

    lines = run("search", "i", "q.npy", "-k", "3", "--json", "--param", "nprobe=16").stdout
    found = [json.loads(line) for line in lines.splitlines()]
    expected = open_index(base / "i").search(base / "q.npy", 3, parameters={"nprobe": 16})
    assert [one["query"] for one in found] == list(range(6))
    assert [one["ids"] for one in found] == expected.ids.tolist()
    np.testing.assert_array_equal([one["distances"] for one in found], expected.distances)

    shown = run("search", "i", "q.npy", "-k", "3", "--param", "nprobe=16").stdout
    assert " ".join(map(str, expected.ids[0])) in shown
    for name in ("o.parquet", "o.jsonl"):
        assert (
            run("search", "i", "q.npy", "-k", "3", "--param", "nprobe=16", "-o", name).stdout == ""
        )
    table = pq.read_table(base / "o.parquet")
    assert table.column("ids").to_pylist() == expected.ids.tolist()
    assert (base / "o.jsonl").read_text() == lines

    told = json.loads(run("info", "i", "--json").stdout)
    assert told["spec"] == "DQ4,IVF16,PQ4"
    assert told["bytes_per_vector"] == 12
    assert len(told["transform"]["subspace_variances"]) == 4
    assert {"settings", "versions", "search_parameters", "files"} <= set(told)
    text = run("info", "i").stdout
    assert "DQ4,IVF16,PQ4" in text
    assert "imbalance" in text


def test_ids_of_the_catalogue_come_back(base, run):
    x = np.load(base / "v.npy")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 20)
    names = [f"item-{row}" for row in range(len(x))]
    pq.write_table(pa.table({"sku": names, "emb": vectors}), base / "v.parquet")
    pq.write_table(pa.table({"name": names}), base / "names.parquet")
    assert (
        run("build", "v.parquet", "-o", "a", "--spec", "DQ4,PQ4", "--id-column", "sku").returncode
        == 0
    )
    assert (
        run("build", "v.npy", "-o", "b", "--spec", "DQ4,PQ4", "--ids", "names.parquet").returncode
        == 0
    )
    answers = [run("search", place, "q.npy", "--json").stdout for place in "ab"]
    assert answers[0] == answers[1]
    assert json.loads(answers[0].splitlines()[0])["ids"][0].startswith("item-")
    # Queries with ids are named by them.
    pq.write_table(pq.read_table(base / "v.parquet").slice(0, 2), base / "q.parquet")
    named = run("search", "a", "q.parquet", "--id-column", "sku", "--json").stdout.splitlines()
    assert [json.loads(line)["query"] for line in named] == ["item-0", "item-1"]


@pytest.mark.parametrize("suffix", ["npy", "parquet"])
def test_fit_encode_decode(base, run, suffix):
    assert (
        run("fit", "v.npy", "-o", "m.safetensors", "-L", "4", "-K", "64,32,16,300").returncode == 0
    )
    info = json.loads(run("info", "m.safetensors", "--json").stdout)
    assert info["code_sizes"] == [64, 32, 16, 300]
    assert (
        run(
            "encode", "m.safetensors", "v.npy", "-o", f"c.{suffix}", "--block-rows", "700"
        ).returncode
        == 0
    )
    assert run("decode", "m.safetensors", f"c.{suffix}", "-o", f"w.{suffix}").returncode == 0
    from dqindex import DQModel, open_vectors

    x = np.load(base / "v.npy")
    model = DQModel.load(base / "m.safetensors")
    codes = open_vectors(base / f"c.{suffix}").read().astype(np.int64)
    np.testing.assert_array_equal(codes, model.encode(x))
    np.testing.assert_allclose(
        open_vectors(base / f"w.{suffix}").read(), model.decode(codes), atol=1e-6
    )
    assert "4 subspaces" in run("info", "m.safetensors").stdout


def test_progress_only_where_stderr_is_a_terminal(base, run):
    done = run("build", "v.npy", "-o", "i", "--spec", "DQ4,PQ4")
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "3,000 x 20" in done.stderr
    assert run("build", "v.npy", "-o", "i", "--spec", "DQ4,PQ4", "-q").stderr == ""


BAD_INPUT: dict[str, tuple[Any, ...]] = {
    "NaN": (lambda x: x.__setitem__((17, 3), np.nan), "1 of 3000 rows hold NaN", "first row 17"),
    "infinity": (lambda x: x.__setitem__((5, 0), np.inf), "first row 5"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
@pytest.mark.parametrize("flags", [(), ("-O",)])
def test_non_finite_vectors(stocked, run, case, flags):
    base = stocked
    spoil, *words = BAD_INPUT[case]
    x = np.load(base / "v.npy")
    spoil(x)
    np.save(base / "bad.npy", x)
    before = {file.name: file.read_bytes() for file in (base / "i").iterdir()}
    model = (base / "m.safetensors").read_bytes()
    failed(
        run("build", "bad.npy", "-o", "i", "--spec", "DQ4,PQ4", python=flags), 1, "bad.npy", *words
    )
    failed(run("fit", "bad.npy", "-o", "m.safetensors", python=flags), 1, *words)
    failed(run("encode", "m.safetensors", "bad.npy", "-o", "c.npy", python=flags), 1, *words)
    failed(run("search", "i", "bad.npy", python=flags), 1, *words)
    assert {file.name: file.read_bytes() for file in (base / "i").iterdir()} == before
    assert (base / "m.safetensors").read_bytes() == model
    assert not (base / "c.npy").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("search i wide.npy", ["X has 7 features", "expecting 20"]),
        ("encode m.safetensors wide.npy -o c.npy", ["X has 7 features", "expecting 20"]),
        ("build empty.npy -o n --spec DQ4,PQ4", ["empty.npy", "the file is empty"]),
        ("build cut.npy -o n --spec DQ4,PQ4", ["cut.npy", "truncated"]),
        ("build rows0.npy -o n --spec DQ4,PQ4", ["holds no vectors"]),
        ("build few.npy -o n --spec DQ4,PQ4", ["50 vectors are too few", "at least 256"]),
        ("build twice.parquet -o n --spec DQ4,PQ4", ["1 ids occur more than once", "'a'"]),
        ("build v.parquet -o n --spec DQ4,PQ4 --id-column nope", ["no id column 'nope'"]),
        ("build v.parquet -o n --spec DQ4,PQ4 --vector-column nope", ["no column 'nope'"]),
        ("build v.npy -o n --spec DQ4,PQ4 --vector-column x", ["has no columns"]),
        ("build v.npy -o n --spec DQ4,PQ8", ["DQ4 balances 4", "use DQ8"]),
        ("build v.npy -o n --spec nonsense", ["is not a word of a spec", "docs/spec.md"]),
        ("build v.npy -o none/n --spec DQ4,PQ4", ["none/n", "make the folder first"]),
        ("build v.npy -o v.npy --spec DQ4,PQ4", ["v.npy"]),
        ("build v.npy -o . --spec DQ4,PQ4", ["holds files, but no index"]),
        ("build none.npy -o n --spec DQ4,PQ4", ["none.npy: no such file"]),
        ("build v.npy -o n --spec DQ4,PQ4 --ids few.npy", ["ids must be 1-d"]),
        ("fit v.npy -o none/m.safetensors", ["make the folder first"]),
        ("fit v.npy -o m.safetensors -K 4,4 -L 4", ["lists 2 sizes for 4 subspaces"]),
        ("encode m.safetensors v.npy -o c.txt", ["neither .npy nor .parquet"]),
        ("encode v.npy v.npy -o c.npy", ["not a readable safetensors file"]),
        ("decode m.safetensors v.npy -o w.npy", ["holds float32, not codes"]),
        ("search v.npy q.npy", ["v.npy"]),
        ("search i q.npy --param efSearch=3", ["efSearch=3 does not fit"]),
        ("search i q.npy -o none/o.parquet", ["make the folder first"]),
        ("info none", ["none: no such file or folder"]),
        ("info v.npy", ["not a readable safetensors file"]),
    ],
)
def test_bad_input_is_one_clear_line(stocked, run, arguments, words):
    base = stocked
    x = np.load(base / "v.npy")
    np.save(base / "wide.npy", x[:5, :7])
    (base / "empty.npy").touch()
    (base / "cut.npy").write_bytes((base / "v.npy").read_bytes()[:-100])
    np.save(base / "rows0.npy", x[:0])
    np.save(base / "few.npy", x[:50])
    emb = pa.FixedSizeListArray.from_arrays(pa.array(x[:300].ravel()), 20)
    pq.write_table(
        pa.table({"item_id": ["a", "a", *map(str, range(298))], "e": emb}), base / "twice.parquet"
    )
    pq.write_table(pa.table({"item_id": range(300), "e": emb}), base / "v.parquet")
    before = {file: file.read_bytes() for file in sorted(base.rglob("*")) if file.is_file()}
    failed(run(*arguments.split()), 1, *words)
    after = {file: file.read_bytes() for file in sorted(base.rglob("*")) if file.is_file()}
    assert after == before  # nothing damaged, nothing left behind
    assert not (base / "n").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "nope",
        "build v.npy",
        "build v.npy -o i --spec DQ4,PQ4 --metric dot",
        "build v.npy -o i --spec DQ4,PQ4 --threads 0",
        "search i q.npy -k 0",
        "search i q.npy --param nprobe",
        "search i q.npy -o x.txt",
        "fit v.npy -o m -K many",
    ],
)
def test_usage_errors_exit_with_2(base, run, arguments):
    done = run(*arguments.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_full_disk_is_an_error_and_damages_nothing(stocked, run):
    """A limit on the file size stands for a full disk: the system refuses the write."""
    base = stocked
    before = {file: file.read_bytes() for file in sorted(base.rglob("*")) if file.is_file()}

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    for arguments in (
        "build v.npy -o i --spec DQ4,IVF8,PQ4",
        "build v.npy -o new --spec DQ4,PQ4",
        "fit v.npy -o m.safetensors",
        "encode m.safetensors v.npy -o c.npy",
        "encode m.safetensors v.npy -o c.parquet",
        "search i v.npy -o s.jsonl",
        "search i v.npy -o s.parquet",
    ):
        failed(run(*arguments.split(), preexec_fn=small), 1, "cannot be written", "File too large")
    after = {file: file.read_bytes() for file in sorted(base.rglob("*")) if file.is_file()}
    assert after == before
    assert not (base / "new").exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a place where no one can write")
def test_unwritable_folder(base, run):
    """/proc refuses new files to everyone, root too."""
    failed(run("build", "v.npy", "-o", "/proc/index", "--spec", "DQ4,PQ4"), 1, "/proc/index")
    failed(run("fit", "v.npy", "-o", "/proc/m.safetensors"), 1, "/proc/m.safetensors", "written")
    failed(run("sids", "extract", "v.npy", "-o", "/proc/s.parquet"), 1, "/proc/s.parquet")


# The command line, whose progress stops at a step and waits.
STOPPED_AT = """
import signal, sys
from contextlib import contextmanager
import dqindex.cli.build
from dqindex.cli import main

@contextmanager
def progress(quiet):
    def report(what, done, total):
        if what == sys.argv[1] and done:
            print("here", flush=True)
            sys.stdin.read()
    yield report

dqindex.cli.build.progress = progress
signal.signal(signal.SIGINT, signal.default_int_handler)  # where the tests run in the background
main(sys.argv[2:])
"""


@pytest.mark.parametrize("step", ["check", "add"])
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_build_leaves_the_old_index(stocked, sent, code, step):
    base = stocked
    before = {file.name: file.read_bytes() for file in (base / "i").iterdir()}
    words = "build v.npy -o i --block-rows 1000 --spec DQ4,IVF8,PQ4x4"
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED_AT, step, *words.split()],
        cwd=base,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "here\n"
    process.send_signal(sent)
    _, said = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in said
    assert {file.name: file.read_bytes() for file in (base / "i").iterdir()} == before


def test_unexpected_errors_are_one_line_unless_debug(base, run):
    failed(run("info", "i"), 1)
    done = run("--debug", "info", "i")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_help_imports_nothing_heavy():
    script = (
        "import sys, dqindex.cli\n"
        "try: dqindex.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'faiss', 'scipy', 'pyarrow', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in COMMANDS)


def every_command(group=cli, path=()):
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield (*path, name), command
        if hasattr(command, "list_commands"):
            yield from every_command(command, (*path, name))


def test_every_command_can_be_quiet(base, run):
    for path, command in every_command():
        if not hasattr(command, "list_commands"):
            assert any("--quiet" in parameter.opts for parameter in command.params), path
    run("fit", "v.npy", "-o", "m.safetensors", "-L", "2", "-K", "4")
    done = run("info", "m.safetensors", "-q")
    assert done.stdout == run("info", "m.safetensors").stdout != ""
    assert done.stderr == ""


@pytest.mark.parametrize(("path", "command"), list(every_command()))
def test_every_command_and_option_has_help(path, command, run):
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{path} {parameter.name}"
    done = run(*path, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: dqindex {' '.join(path)}")


def test_version(run):
    from dqindex import __version__

    assert run("--version").stdout == f"dqindex, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        "fit v.npy -o v.npy -L 4 -K 16",
        "fit v.npy -o hard.npy -L 4 -K 16",
        "encode m.safetensors v.npy -o v.npy",
        "encode m.safetensors v.npy -o soft.npy",
        "decode m.safetensors c.npy -o c.npy",
        "search i q.parquet -o q.parquet",
        "search i v.npy -o i/found.jsonl",
        "build i/v.npy -o i --spec DQ4,PQ4",
        "sids extract v.parquet -o v.parquet -L 4 -K 16",
        "sids extract v.npy -o m.safetensors --model m.safetensors",
        "sids append s.parquet v.parquet -o v.parquet",
        "sids append s.parquet v.parquet -o new.parquet --delta s.parquet",
        "sids append s.parquet v.parquet -o new.parquet --delta new.parquet",
        "sids refit s.parquet v.parquet -o v.parquet",
        "sids export s.parquet -o s.parquet --format parquet",
        "sids neighbors s.parquet -o s.parquet",
        "bench report r.jsonl -o r.jsonl",
        "bench report r.jsonl -o p.html --png p.html",
        "bench run --data v.npy --spec PQ4 -o v.npy",
    ],
)
def test_an_output_is_never_an_input(base, run, arguments):
    files = ("v.npy", "q.parquet", "v.parquet", "c.npy", "m.safetensors", "s.parquet", "r.jsonl")
    (base / "i").mkdir()
    for name in (*files, "i/v.npy", "i/manifest.json"):
        if not (base / name).exists():
            (base / name).write_text(f"mine: {name}")
    (base / "hard.npy").hardlink_to(base / "v.npy")
    (base / "soft.npy").symlink_to("v.npy")
    before = {file: file.read_bytes() for file in sorted(base.rglob("*")) if file.is_file()}
    failed(run(*arguments.split()), 1, "choose another")
    after = {file: file.read_bytes() for file in sorted(base.rglob("*")) if file.is_file()}
    assert after == before


def test_closed_and_full_standard_output(base, run):
    """What can't be printed is an error; what prints nothing works."""
    shell = ["bash", "-c"]
    dqindex = f"{sys.executable} -m dqindex"

    def call(words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*shell, words], cwd=base, capture_output=True, text=True, check=False
        )

    failed(call(f"{dqindex} fit v.npy -o m.safetensors -L 4 -K 16 --json >&-"), 1, "is closed")
    for command in ("info m.safetensors", "info m.safetensors --json", "--version", "--help"):
        done = call(f"{dqindex} {command} >&-")
        failed(done, 1, "standard output: is closed")
        if Path("/dev/full").exists():
            done = call(f"{dqindex} {command} >/dev/full")
            failed(done, 1, "standard output: cannot be written", "No space left")
    done = call(f"{dqindex} fit v.npy -o n.safetensors -L 4 -K 16 <&- >&- 2>&-")
    assert done.returncode == 0
    assert (base / "n.safetensors").read_bytes() == (base / "m.safetensors").read_bytes()
