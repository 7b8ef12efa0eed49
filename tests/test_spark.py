"""Spark, on this machine: the models, maps and indexes of one machine, however rows are cut."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import threading
import warnings

import numpy as np
import pyarrow as pa
import pytest
from distributed import (
    APPENDED,
    FAMILIES,
    D,
    alike,
    assert_appended,
    assert_figures,
    assert_same_map,
    by_id,
    catalogue_of,
    edges_of,
    in_order_of_ids,
    local_edges,
    published,
    with_value,
)

import dqindex
from dqindex import open_index
from dqindex.cli import main
from dqindex.cli.spark import session as tables
from dqindex.cli.spark.folders import Folders
from dqindex.errors import (
    BusyError,
    InputError,
    IntegrityError,
    NonFiniteError,
    RangeError,
    StorageError,
)
from dqindex.partitions import neighbours
from dqindex.quantizer.family import new_model

pytest.importorskip("pyspark", reason="the extra 'spark' is not installed")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs Java, and there is none", allow_module_level=True)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    from dqindex import spark as engine
    from dqindex.spark import contenders, frames

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

N = 1500


@pytest.fixture(scope="session")
def session():
    os.environ["PYSPARK_PYTHON"] = sys.executable
    made = (
        SparkSession.builder.master("local[2,2]")
        .appName("dqindex tests")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "1g")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.adaptive.enabled", "true")
        # Code that runs once is not worth compiling well.
        .config("spark.driver.extraJavaOptions", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "OFF")
        .getOrCreate()
    )
    yield made
    made.stop()


@pytest.fixture(scope="module")
def catalogue():
    return alike(N)


def frame_of(session, table, partitions):
    """Rows in any order, in so many partitions; where their number is odd some are empty."""
    order = np.random.default_rng(partitions).permutation(len(table))
    frame = session.createDataFrame(table.take(pa.array(order)))
    by = [F.crc32(F.col("item_id").cast("string")) % 3] if partitions % 2 else []
    return frame.repartition(partitions, *by).localCheckpoint()


def failing_once(frame, marker, how):
    """The same rows; the first task that finds no `marker` is lost with its process, or fails."""

    def run(batches):
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            yield from batches
            return
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError("the machine was lost")

    return frame.mapInArrow(run, frame.schema)


@pytest.mark.parametrize(("family", "partitions"), [("dq", 16), ("coarse", 1), ("rq", 7)])
def test_a_map_is_that_of_one_machine(
    session, catalogue, family, partitions, pytestconfig, tmp_path, monkeypatch
):
    if partitions == 16 and pytestconfig.getoption("--long"):
        partitions = 64
    frame = frame_of(session, catalogue, partitions)
    if family == "coarse":  # As if those that collide, most of all, were very many.
        monkeypatch.setattr(contenders, "SENT_ROWS", 10)
    settings = FAMILIES[family]
    local = dqindex.semantic_ids(catalogue, **settings)
    if family == "rq":
        frame = failing_once(frame, tmp_path / "failed", "raised")
        monkeypatch.setattr(neighbours, "PLACE_ITEMS", 100)
    model = engine.fit(frame, **settings)
    assert model.to_bytes() == local.model.to_bytes()
    assert (tmp_path / "failed").exists() == (family == "rq")
    rounds = []
    made = engine.semantic_ids(
        frame, model=model, progress=lambda what, done, total: rounds.append(what)
    )
    assert_same_map(made.toArrow(), local)
    assert local.unique_share() == 1.0
    assert (local.codes != local.base_codes).any()
    assert "round" in rounds
    if family == "rq":
        assert len(rounds) > 2


@pytest.mark.parametrize("parts", [1, 4])
def test_what_is_held_apart_is_grouped_where_it_lies(session, parts):
    """Vectors of items that wait must not be shuffled in every round; no map would tell."""
    items = session.range(1000).withColumn("place", (F.col("id") % 7).cast("int"))
    told = session.range(30).withColumn("place", (F.col("id") % 5).cast("int")).localCheckpoint()
    schema = pa.schema([("place", pa.int32()), ("n", pa.int64())])

    def count(ours, theirs):
        if not len(ours):
            return schema.empty_table()
        rows = {"place": ours["place"][:1], "n": [len(ours) * len(theirs)]}
        return pa.table(rows, schema=schema)

    apart = frames.held_apart(items, "place", parts)
    assert session.conf.get("spark.sql.adaptive.enabled") == "true"
    some = apart.filter(F.col("place").isin([0, 1, 5]))
    made = frames.cogrouped(some, told, "place", count, schema)
    plan = made._jdf.queryExecution().executedPlan().toString()
    assert plan.count("Exchange hashpartitioning") == 1
    found = {row["place"]: row["n"] for row in made.collect()}
    assert found == {0: 143 * 6, 1: 143 * 6, 5: 0}


def test_text_ids_a_priority_and_a_cap(session, catalogue):
    """And tokens that are kept, and a model that is learned on the way."""
    table = catalogue.slice(0, 600)
    ids = pa.array([f"ß{one}" for one in table["item_id"].to_pylist()])
    sales = pa.array(np.random.default_rng(0).integers(0, 5, 600).astype(float))
    table = table.set_column(0, "item_id", ids).append_column("sales", sales)
    how = {
        **{"n_subspaces": 2, "n_codewords": 8, "coarse": (6,), "polish": 0, "beam": 1},
        **{"unique": "cap", "cap": 2, "keep": 1, "priority": "sales", "seed": 3},
    }
    made = engine.semantic_ids(frame_of(session, table, 3), **how)
    local = dqindex.semantic_ids(table, **how)
    assert_same_map(made.toArrow(), local)
    assert local.widened() > 0


def test_suffixes_and_shared_tokens(session, catalogue):
    frame = frame_of(session, catalogue, 5).withColumnRenamed("item_id", "sku")
    model = new_model("dq", 2, 8).fit(catalogue)
    local = dqindex.semantic_ids(catalogue, model=model, unique="suffix")
    made = engine.semantic_ids(frame, model=model, unique="suffix", id_column="sku")
    assert_same_map(made.toArrow(), local)
    plain = engine.encode(frame, model, id_column="sku").toArrow()
    assert plain.column_names == ["item_id", "codes", "distortion"]
    tokens = {row["item_id"]: row["codes"] for row in plain.to_pylist()}
    assert tokens == {one: base for one, (_, base) in by_id(local.table()).items()}


def test_of_very_many_items_few_collide(session, catalogue, monkeypatch):
    """Too many to be sent everywhere; a sieve of their ids is, and others stay."""
    monkeypatch.setattr(contenders, "SENT_ROWS", 10)
    model = new_model("dq", 4, 24).fit(catalogue)
    local = dqindex.semantic_ids(catalogue, model=model, unique="suffix")
    colliding = int((local.codes[:, -1] > 0).sum())
    assert 10 < colliding < N // 4
    passed = []
    real = contenders._sifted

    def sifted(some, n, frame):
        passed.append((n, real(some, n, frame)))
        return passed[0][1]

    monkeypatch.setattr(contenders, "_sifted", sifted)
    made = engine.semantic_ids(frame_of(session, catalogue, 3), model=model, unique="suffix")
    assert_same_map(made.toArrow(), local)
    [(n, rows)] = passed
    assert n <= rows.count() < n + N // 10


@pytest.mark.parametrize(("unique", "where"), APPENDED)
def test_new_items_are_appended(session, catalogue, tmp_path, unique, where):
    sids, new, how = published(catalogue.slice(0, 900), unique, tmp_path / "map.parquet")
    priority = "sales" if unique == "cap" else None
    frame = frame_of(session, new, 3)
    given = {"priority": priority}
    if where == "table":
        old = sids.table().replace_schema_metadata(None)
        before, given = frame_of(session, old, 2), {**given, **how, "model": sids.model}
    else:
        before = sids if where == "memory" else tmp_path / "map.parquet"
    marker = tmp_path / "killed"
    if where == "table":
        frame = failing_once(frame, marker, "killed")
    whole, delta = engine.append(before, frame, **given)
    assert marker.exists() == (where == "table")
    assert_appended(whole.toArrow(), delta.toArrow(), sids, new, priority)


def test_what_can_not_be_appended_is_refused(session, catalogue, tmp_path):
    sids, new, _ = published(catalogue.slice(0, 300), "reassign", tmp_path / "map.parquet")
    frame = session.createDataFrame(new)
    known = sids.ids[3].as_py()
    twice = frame.withColumn("item_id", F.lit(known)).limit(1)
    with pytest.raises(InputError, match=f"1 ids are in the map already, for example {known}"):
        engine.append(sids, twice)
    with pytest.raises(InputError, match=r"unique, cap, keep: the map says how it was made"):
        engine.append(sids, frame, unique="suffix")
    with pytest.raises(InputError, match="ids of type string, those of the map are int64"):
        engine.append(sids, frame.withColumn("item_id", F.col("item_id").cast("string")))
    with pytest.raises(IntegrityError, match="give the model that made it"):
        engine.append(tmp_path / "map.parquet", frame, model=new_model("dq", 3, 10).fit(new))
    rows = session.createDataFrame(sids.table().replace_schema_metadata(None))
    with pytest.raises(InputError, match=r"are not those of a model of 4 x 4 x 4 codes"):
        engine.append(rows, frame, model=new_model("dq", 3, 4).fit(new))
    with pytest.raises(InputError, match="a table does not hold the model of the map"):
        engine.append(rows, frame)
    with pytest.raises(InputError, match="the map has no column 'base_codes'"):
        engine.append(rows.drop("base_codes"), frame)


def test_one_tuple_with_very_many_items(session, catalogue, pytestconfig):
    """Near each other or the same; most partitions hold nothing else, and some hold nothing."""
    vectors = np.array(catalogue["vector"].to_pylist(), dtype=np.float32)[:900]
    vectors[100:] = vectors[100]
    vectors[100:160] += 1e-5 * np.arange(60)[:, None]
    table = catalogue_of(vectors, np.arange(900) * 7 % 900)
    model = new_model("dq", 3, 16).fit(catalogue)
    ways = ["reassign", "suffix"] if pytestconfig.getoption("--long") else ["suffix"]
    for how in ({"unique": one} for one in ways):
        local = dqindex.semantic_ids(table, model=model, **how)
        made = engine.semantic_ids(frame_of(session, table, 5), model=model, **how)
        assert_same_map(made.toArrow(), local)
    rows = session.createDataFrame(local.table().replace_schema_metadata(None))
    found = engine.evaluate(rows)
    assert found["before"]["largest_group"] >= 740
    assert_figures(found["before"], in_order_of_ids(local).evaluate()["before"])


def test_figures_and_edges_are_those_of_one_machine(session, catalogue):
    sids = dqindex.semantic_ids(catalogue.slice(0, 500), n_subspaces=3, n_codewords=10)
    rows = frame_of(session, sids.table().replace_schema_metadata(None), 3)
    local = in_order_of_ids(sids)
    found = engine.evaluate(rows, frame_of(session, catalogue, 2), model=sids.model)
    assert_figures(found, local.evaluate(catalogue))
    made = engine.linkage(rows, 4)
    assert made.columns == ["source", "target", "weight"]
    assert edges_of(made.toArrow()) == local_edges(local, 4)


@pytest.mark.parametrize(
    ("metric", "spec"), [("l2", "DQ4,IVF8,PQ4"), ("cosine", "DQ4,PQ4,Refine(SQ8)")]
)
def test_an_index_is_that_of_one_machine(session, catalogue, tmp_path, metric, spec):
    made = engine.build_index(
        frame_of(session, catalogue, 5), spec, tmp_path / "index", metric=metric, seed=2
    )
    local = dqindex.build_index(catalogue, spec, metric=metric, seed=2)
    assert made.training == local.training
    again = open_index(tmp_path / "index")
    queries = np.array(catalogue["vector"].to_pylist(), dtype=np.float32)[::50]
    found, wanted = (one.search(queries, 10) for one in (again, local))
    np.testing.assert_allclose(found.distances, wanted.distances, rtol=1e-5)
    ids = catalogue["item_id"].to_pylist()
    assert sorted(again.names.array.to_pylist()) == sorted(ids)
    some = ids[::100]
    np.testing.assert_array_equal(again.reconstruct(some), local.reconstruct(some))


@pytest.mark.parametrize(
    ("value", "kind", "words"), [(np.nan, NonFiniteError, "NaN"), (1e12, RangeError, "norm above")]
)
def test_a_bad_row_is_named_by_its_id(session, catalogue, value, kind, words, tmp_path):
    frame = frame_of(session, with_value(catalogue.slice(0, 200), value), 3)
    bad = catalogue["item_id"][33].as_py()
    model = new_model("dq", 2, 30).fit(catalogue)
    tasks = [
        lambda: engine.fit(frame, n_subspaces=2, n_codewords=4),
        lambda: engine.semantic_ids(frame, model=model),
        lambda: engine.build_index(frame, "DQ4,PQ4", tmp_path / "index"),
        lambda: engine.append(dqindex.semantic_ids(catalogue, model=model, unique="none"), frame),
    ]
    for task in tasks if value != value else tasks[:1]:
        with pytest.raises(kind, match=rf"{words}.*its id: {bad}\)"):
            task()
    assert not (tmp_path / "index").exists()


def test_what_can_not_be_is_refused_before_the_work(session, catalogue):
    model = new_model("dq", 2, 8).fit(catalogue)
    frame = frame_of(session, catalogue.slice(0, 300), 2)
    with pytest.raises(InputError, match="300 items, but 8 x 8 codes make only 64 IDs"):
        engine.semantic_ids(frame, model=model)
    with pytest.raises(InputError, match=r"1 ids occur more than once, for example 7 .2 times"):
        engine.semantic_ids(
            session.createDataFrame(
                [(7, [0.0] * D), (7, [1.0] * D), (8, [2.0] * D)], "id bigint, vector array<float>"
            ),
            model=model,
        )
    with pytest.raises(InputError, match="no column item_id or id"):
        engine.encode(frame.withColumnRenamed("item_id", "sku"), model)
    with pytest.raises(InputError, match="give a DataFrame of Spark"):
        engine.fit(catalogue)
    with pytest.raises(InputError, match="unique is 'odd'; it must be"):
        engine.semantic_ids(frame, unique="odd")
    with pytest.raises(InputError, match="no column 'sales'"):
        engine.semantic_ids(frame, priority="sales")
    with pytest.raises(InputError, match="the table holds no vectors"):
        engine.fit(frame.filter("item_id < 0"))
    with pytest.raises(dqindex.errors.SpecError):
        engine.build_index(frame, "DQ3,Nothing", "unused")


def test_two_jobs_onto_one_index(session, catalogue, tmp_path):
    """One publishes a whole index; the other too, or it says that it could not."""
    frame = frame_of(session, catalogue.slice(0, 400), 2)
    outcomes = []

    def build(seed):
        try:
            outcomes.append(engine.build_index(frame, "DQ4,PQ4", tmp_path / "index", seed=seed))
        except (BusyError, StorageError) as error:
            outcomes.append(error)

    jobs = [threading.Thread(target=build, args=(seed,)) for seed in (1, 2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    made = [one for one in outcomes if not isinstance(one, Exception)]
    assert len(outcomes) == 2
    assert made
    again = open_index(tmp_path / "index")
    assert sorted(again.names.array.to_pylist()) == sorted(catalogue["item_id"].to_pylist()[:400])
    assert again.training in {one.training for one in made}


def test_two_commands_write_one_folder(session, tmp_path):
    """One has the folder, whole; the other is told, and leaves nothing."""
    frame = session.range(0, 1000, 1, 2)
    outcomes: list[str | None] = []

    def write():
        try:
            tables.write(frame, str(tmp_path / "sids"), 1000)
            outcomes.append(None)
        except StorageError as error:
            outcomes.append(str(error))

    jobs = [threading.Thread(target=write) for _ in range(2)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    [lost] = [one for one in outcomes if one is not None]
    assert re.search("another job wrote there meanwhile|is there already", lost)
    assert session.read.parquet(str(tmp_path / "sids")).count() == 1000
    assert [one.name for one in tmp_path.iterdir()] == ["sids"]
    assert all(one.is_file() for one in (tmp_path / "sids").iterdir())


def test_a_folder_that_came_meanwhile_is_left_alone(session, tmp_path, monkeypatch):
    """Spark would put the new folder into it, or write over it."""
    folders = Folders(session)
    written, wanted = tmp_path / "written", tmp_path / "wanted"
    for one in (written, wanted):
        one.mkdir()
        (one / "rows").write_text(one.name)
    # As if it had come after the check.
    monkeypatch.setattr(folders, "check_new", lambda _: None)
    with pytest.raises(StorageError, match="wanted: another job wrote there meanwhile"):
        folders.rename(str(written), str(wanted))
    assert [one.name for one in wanted.iterdir()] == ["rows"]
    assert (wanted / "rows").read_text() == "wanted"
    with pytest.raises(StorageError, match="nowhere://x: can't be found by Spark"):
        tables.check_output("nowhere://x")


def test_tables_from_the_command_line(session, catalogue, tmp_path, capsys):
    """`dqindex spark` in the session that is there, as spark-submit starts one."""
    sids, new, _ = published(catalogue.slice(0, 300), "reassign", tmp_path / "map.parquet")
    old = catalogue.filter(pa.compute.is_in(catalogue["item_id"], value_set=sids.ids))
    session.createDataFrame(old).write.parquet(str(tmp_path / "items"))
    session.createDataFrame(new).write.parquet(str(tmp_path / "new"))
    model = str(tmp_path / "model.safetensors")

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main(["spark", *map(str, words)])
        return stop.value.code, capsys.readouterr()

    def rows(name):
        return session.read.parquet(str(tmp_path / name)).toArrow()

    main(["spark", "fit", str(tmp_path / "items"), "-o", model, "-L", "3", "-K", "10"])
    under = dqindex.DQModel.load(model)
    local = dqindex.semantic_ids(old, model=under)
    made = [tmp_path / "items", "-o", tmp_path / "sids", "--model", model]
    main(["spark", "extract", *map(str, made)])
    assert_same_map(rows("sids"), local)
    code, said = run("extract", *made)
    assert code == 1
    assert "sids: is there already; remove it, or give a new folder" in said.err
    added = [tmp_path / "sids", tmp_path / "new", "-o", tmp_path / "more", "--model", model]
    main(["spark", "append", *map(str, added)])
    assert_same_map(rows("more"), local.append(new)[1])
    code, said = run("extract", tmp_path / "nothing", "-o", tmp_path / "x", "--model", model)
    assert code == 1
    [line] = [one for one in said.err.splitlines() if one.startswith("error: ")]
    assert "can't be read by Spark" in line
    assert "Traceback" not in said.err
