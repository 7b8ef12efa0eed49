"""The command line: one file a command, each a thin mirror of a library call."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from dqindex._version import __version__
from dqindex.cli.lazy import LazyGroup
from dqindex.cli.streams import guard, let_go
from dqindex.cli.wording import called, in_options
from dqindex.errors import DQIndexError

# Command, which is also its module's name, and its line in the help.
COMMANDS = {
    "demo": "Show it all on 400,000 real word vectors, in under a minute.",
    "build": "Build an index that stock FAISS reads.",
    "add": "Add vectors to an index, under its training.",
    "remove": "Remove vectors from an index.",
    "update": "Replace vectors of an index.",
    "merge": "Make one index of several that share a training.",
    "search": "Find the nearest neighbours of queries.",
    "info": "Describe a model, an index or a map of semantic IDs.",
    "sids": "Semantic IDs: extract, append, refit, evaluate, lookup, export, neighbors.",
    "spark": "Models and semantic IDs of tables on many machines: fit, extract, append.",
    "bench": "Measure indexes of dqindex and of other libraries, and show the results.",
    "validate": "Check, on your vectors, that DQ-VAE is PQ.",
    "fit": "Learn a model: rotation and codebooks.",
    "encode": "Turn vectors into codes.",
    "decode": "Turn codes back into vectors.",
}


@click.group(
    cls=LazyGroup,
    package="dqindex.cli",
    members=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, package_name="dqindex", prog_name="dqindex")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Balanced principal-axis product quantisation over FAISS.

    VECTORS can be .npy, .fvecs/.bvecs/.ivecs, .fbin/.u8bin/.i8bin/.ibin, Parquet or Arrow (a file,
    a folder or a glob), HDF5 (file.hdf5:train) or safetensors (file.safetensors:tensor).

    Files may be at a URI: s3://, gs://, abfs://, hf://, file://; https:// for reading only.
    """


def main(args: list[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted, 143 terminated."""
    # So that a polite kill cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    args = sys.argv[1:] if args is None else args
    guard()
    try:
        cli.main(args, prog_name="dqindex", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader went away.
        let_go()
        sys.exit(1)
    except Exception as error:
        if "--debug" in args:
            let_go()
            raise
        let_go()
        click.echo(f"error: {_one_line(error, args)}", err=True)
        sys.exit(1)


def _one_line(error: Exception, args: list[str]) -> str:
    if isinstance(error, DQIndexError):
        return in_options(str(error), called(cli, args))
    if isinstance(error, MemoryError):
        return f"out of memory ({error}); use smaller --block-rows or fewer training rows"
    kind: Any = type(error).__name__
    return f"unexpected {kind}: {' '.join(str(error).split())} (run dqindex --debug to see where)"
