"""The command line: one thin command per step.

Every command imports what it needs when it runs, so that ``dupnet --help`` answers at once. An error that the
user can mend (a ``ValueError`` or ``OSError``) becomes one line on standard error and exit status 2.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dupnet import __version__

if TYPE_CHECKING:
    from dupnet.pair_reader import PairReader

__all__ = ["main"]

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 + SIGINT, as shells have it."""

ACQUISITIONS = ("kitsap", "derna", "yellowstone", "washington")

Commands = argparse._SubParsersAction


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (default: those of the process) name; returns the exit status."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = _show_warning
    try:
        return int(options.command(options) or 0)
    except KeyboardInterrupt:
        print("\ndupnet: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError) as error:
        print(f"dupnet: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"dupnet: {message}", file=file or sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dupnet",
        description="Find every duplicated tile of a satellite collection, rebuild the acquisitions, "
        "split without a leak.",
    )
    parser.add_argument("--version", action="version", version=f"dupnet {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_find(commands)
    _add_split(commands)
    _add_audit(commands)
    _add_review(commands)
    _add_tiles(commands)
    _add_pairs(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_data(commands)
    return parser


def _add_find(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "find",
        help="every overlap in a folder of images, groups, mosaics and a report",
        description="Find every overlap in a folder of images. Writes tables, mosaics and a report into DIR. "
        "Stopped at any moment, the same command goes on where it was.",
    )
    parser.add_argument("images", metavar="IMAGES", help="folder of JPEG, PNG or TIFF images of one size")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the results")
    _add_tile_size(parser)
    parser.add_argument(
        "--stride", type=int, metavar="PX", help="stride at which the images were cut (default: a tile)"
    )
    parser.add_argument("--add", action="store_true", help="add IMAGES to the collection that DIR holds")
    parser.add_argument("--against", metavar="OTHER", help="only overlaps between IMAGES and this folder")
    parser.add_argument(
        "--check-content", action="store_true", help="tell a changed file by its bytes, not its time"
    )
    parser.add_argument("--no-report", action="store_true", help="leave out report.html and mosaics/")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="work on a Dask cluster; IMAGES and DIR may be URLs (docs/scaling.md)",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    _add_workers(parser)
    parser.set_defaults(command=_find)


def _find(options: argparse.Namespace) -> None:
    from dupnet.find import find_overlaps

    result = find_overlaps(
        options.images,
        out=options.out,
        tile_size=options.tile_size,
        stride=options.stride,
        add=options.add,
        against=options.against,
        check_content=options.check_content,
        scheduler=options.scheduler,
        report=not options.no_report,
        workers=options.workers,
        progress=not options.quiet,
    )
    print(result.summary())
    name = "overlaps.csv" if options.no_report else "report.html"
    # Path would make one slash of the two in a URL.
    print(
        f"Results: {options.out.rstrip('/')}/{name}"
        if "://" in options.out
        else f"Results: {Path(options.out, name)}"
    )


def _add_split(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "split",
        help="split a collection without a leak, whole groups together",
        description="Split what `dupnet find` wrote into DIR, whole groups together: DIR/splits.csv.",
    )
    _add_results(parser)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.8, 0.1, 0.1], metavar="SHARE")
    parser.add_argument("--names", nargs="+", metavar="NAME", help="names of the splits, as many as ratios")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stratify", metavar="CSV", help="one row an image, or one a ship")
    parser.add_argument("--column", help="column of that CSV to stratify by")
    parser.set_defaults(command=_split)


def _split(options: argparse.Namespace) -> None:
    from dupnet.files import write_csv
    from dupnet.results import read_results
    from dupnet.splits import read_strata, split

    groups = read_results(options.dir).groups
    strata = options.stratify and read_strata(options.stratify, list(groups["image"]), options.column)
    splits = split(groups, options.ratios, options.seed, strata if options.stratify else None, options.names)
    write_csv(splits, Path(options.dir, "splits.csv"))
    counts = splits.groupby("split", sort=False).agg(images=("image", "size"), groups=("group", "nunique"))
    counts.insert(1, "share", (counts["images"] / len(splits)).round(4))
    print(counts.to_string())
    print(f"Written to {Path(options.dir, 'splits.csv')}")


def _add_audit(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "audit",
        help="leaks of any given split: images, tiles, pixels; exit status 1 if there are any",
        description="Count what a split leaks, by what `dupnet find` wrote into DIR. Exit status 1 if any.",
    )
    parser.add_argument("splits", metavar="SPLITS.csv", help="table with the columns image and split")
    _add_results(parser)
    parser.set_defaults(command=_audit)


def _audit(options: argparse.Namespace) -> int:
    from dupnet.leaks import audit
    from dupnet.results import read_results, read_table

    result = read_results(options.dir)
    found = audit(read_table(options.splits), result.overlaps, result.groups, result.grid)
    print(found.splits.to_string(index=False))
    if found.unassigned:
        print(f"{found.unassigned} images of {options.dir} are in no split")
    if not found.leaks:
        print("No leak.")
        return 0
    print(f"\n{len(found.groups)} groups leak; those with most tiles:")
    print(found.groups.head(10).to_string(index=False))
    print("\nPairs of images that share ground across splits, the most of each of these groups:")
    print(found.examples.to_string(index=False))
    return 1


def _add_review(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("review", help="judge overlaps by eye in a browser, least certain first")
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`, or a table of pairs")
    parser.add_argument("--images", metavar="FOLDER", help="where the images are, if DIR does not tell")
    parser.add_argument("--judgements", metavar="CSV", help="file for the answers (default: in DIR)")
    parser.add_argument("--tile-size", type=int, metavar="PX", help="side of a tile, if DIR does not tell")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--export", metavar="CSV", help="write the answers so far as labels, and end")
    parser.set_defaults(command=_review)


def _review(options: argparse.Namespace) -> None:
    from dupnet.review import export_labels, open_review, serve

    if options.export:
        n_labels = export_labels(options.dir, options.export, options.judgements)
        print(f"{n_labels} labels written to {options.export}")
        return
    review = open_review(options.dir, options.images, options.judgements, options.tile_size)
    serve(review, options.port, open_browser=not options.no_browser)


def _add_tiles(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "tiles",
        help="save every tile of every image as IMAGE_INDEX.jpg",
        description="Save every tile of every image as IMAGE_INDEX.jpg in DIR; goes on where it was stopped.",
    )
    parser.add_argument("images", metavar="IMAGES", help="folder of JPEG, PNG or TIFF images")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the tiles")
    parser.add_argument("--quality", type=int, default=95, help="of the JPEGs (default: 95)")
    _add_tile_size(parser)
    _add_workers(parser)
    parser.set_defaults(command=_tiles)


def _tiles(options: argparse.Namespace) -> None:
    from dupnet.images import save_tiles

    left_out = save_tiles(
        options.images,
        options.out,
        tile_size=options.tile_size,
        quality=options.quality,
        workers=options.workers,
        progress=True,
    )
    for row in left_out.itertuples():
        print(f"dupnet: left out {row.image!r}: {row.reason}", file=sys.stderr)
    print(f"Tiles: {options.out} ({len(left_out)} files left out)")


def _add_pairs(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "pairs",
        help="labelled pairs of tiles for training, split by overlap group",
        description="Make the labelled table of tile pairs of a collection, as TABLE.parquet and TABLE.csv.",
    )
    _add_results(parser)
    parser.add_argument("--out", metavar="TABLE", required=True)
    parser.add_argument("--rows", type=int, default=150_000, help="size of the sample (default: 150,000)")
    parser.add_argument("--ratios", type=float, nargs=3, default=[0.8, 0.1, 0.1], metavar="SHARE")
    parser.add_argument("--seed", type=int, default=0)
    _add_workers(parser)
    parser.set_defaults(command=_pairs)


def _pairs(options: argparse.Namespace) -> None:
    from dupnet.pairs import make_pairs, save_pairs
    from dupnet.results import read_results

    result = read_results(options.dir)
    if len(result.folders) != 1:
        held = "several folders" if result.folders else "a store"
        raise ValueError(
            f"{options.dir} holds images of {held}; pairs are made of one folder of this machine."
        )
    pairs = make_pairs(
        result.folders[0],
        list(result.groups["image"]),
        result.overlaps,
        n_rows=options.rows,
        ratios=tuple(options.ratios),
        tile_size=result.grid.tile_size,
        seed=options.seed,
        workers=options.workers,
    )
    save_pairs(pairs, options.out)
    print(pairs.groupby(["split", "is_duplicate"], sort=False).size().unstack().to_string())
    print(f"Written to {Path(options.out).with_suffix('.parquet')} and .csv")


def _add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network on a table of pairs",
        description="Train a network on a table of pairs; goes on after the last epoch where it was stopped.",
    )
    _add_pair_table(parser)
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the run")
    parser.add_argument("--model", choices=["dupnet", "dupnet_v0"], default="dupnet")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rows-per-epoch", type=int, metavar="N", help="rows drawn anew for each epoch")
    parser.add_argument("--seed", type=int, default=0)
    _add_workers(parser)
    parser.set_defaults(command=_train)


def _train(options: argparse.Namespace) -> None:
    from dupnet.models import DupnetConfig, DupnetV0Config
    from dupnet.pairs import load_pairs
    from dupnet.training import TrainConfig, train

    config = TrainConfig(
        model=DupnetConfig() if options.model == "dupnet" else DupnetV0Config(),
        epochs=options.epochs,
        batch_size=options.batch_size,
        rows_per_epoch=options.rows_per_epoch,
        seed=options.seed,
    )
    trained = train(load_pairs(options.pairs), options.images, options.out, config, workers=options.workers)
    print(trained.history.to_string(index=False))
    print(f"Written to {Path(options.out, 'model.keras')}")


class _LabelsOption(argparse.Action):
    """``--labels FILE``: the labels take the place of TABLE, so that one positional argument is left."""

    def __init__(self, *, images: argparse.Action, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.images = images

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        self.images.required = False


def _add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="precision and recall of a network on a table of pairs, or on labels",
        usage="dupnet evaluate [options] TABLE IMAGES\n       dupnet evaluate [options] --labels FILE IMAGES",
        description="Judge a network by a table of pairs, or by overlaps that a person labelled: counts, and "
        "every label that it contradicts.",
    )
    images = _add_pair_table(parser)
    parser.add_argument(
        "--labels",
        metavar="FILE",
        action=_LabelsOption,
        images=images,
        help="labelled overlaps, as `dupnet review --export` writes them, in place of TABLE",
    )
    parser.add_argument("--out", metavar="DIR", help="with --labels: write counts.csv and judged.csv there")
    parser.add_argument("--model", metavar="MODEL.keras", help="default: the shipped network")
    parser.add_argument("--split", default="test", help="rows of TABLE to evaluate on (default: test)")
    parser.add_argument("--threshold", type=float, help="default: 0.5, or the shipped network's own")
    _add_tile_size(parser)
    _add_workers(parser)
    parser.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    if options.labels:
        return _evaluate_labels(options)
    if options.out:
        raise ValueError("--out goes with --labels FILE; the counts of a table of pairs are only printed.")

    import numpy as np

    from dupnet.evaluation import confusion
    from dupnet.pair_reader import PairReader
    from dupnet.pairs import load_pairs

    pairs = load_pairs(options.pairs)
    rows = pairs[pairs["split"] == options.split]
    reader = PairReader(rows, options.images, tile_size=options.tile_size, workers=options.workers)
    predict, threshold = _network(options)
    if predict:
        scores = predict(reader)
    else:
        from dupnet.descriptors import compare

        judged = [compare(batch.tiles1, batch.tiles2)["score"] for batch in reader.batches(64)]
        scores = np.concatenate(judged)
    counts = confusion(scores, rows["is_duplicate"].to_numpy(), threshold)
    print(f"{counts.n} pairs of split {options.split!r}, threshold {threshold:g}")
    print(counts.table().to_string(index=False))


def _evaluate_labels(options: argparse.Namespace) -> None:
    from dupnet.files import write_csv
    from dupnet.labels import judge_labels, outcome_counts, read_labels

    if options.images:
        raise ValueError(f"{options.pairs}: with --labels FILE, name the folder of images alone.")
    labels = read_labels(options.labels)
    predict, threshold = _network(options)
    judged = judge_labels(
        labels,
        options.pairs,
        threshold,
        predict,
        tile_size=options.tile_size,
        workers=options.workers,
    )
    counts, wrong = outcome_counts(judged), judged[judged["outcome"] == "wrong"]
    print(f"{len(judged)} labelled overlaps, threshold {threshold:g}")
    print(counts.to_string(index=False))
    if len(wrong):
        print("\nWrong:")
        print(wrong.drop(columns="outcome").to_string(index=False))
    if options.out:
        Path(options.out).mkdir(parents=True, exist_ok=True)
        write_csv(counts, Path(options.out, "counts.csv"))
        write_csv(judged, Path(options.out, "judged.csv"))
        print(f"Written to {Path(options.out, 'counts.csv')} and judged.csv")


def _network(options: argparse.Namespace) -> tuple[Callable[[PairReader], Any] | None, float]:
    """How ``--model`` scores the pairs of a reader (None: by the shipped network), and the threshold."""
    if options.model:
        from functools import partial

        from dupnet.models import load_model
        from dupnet.training import predict_pairs

        predict, threshold = partial(predict_pairs, load_model(options.model)), 0.5
    else:
        from dupnet.descriptors import load_weights

        predict, threshold = None, load_weights().threshold
    return predict, threshold if options.threshold is None else options.threshold


def _add_data(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "data",
        help="fetch real imagery, and cut it into collections whose every overlap is known",
        description="Fetch an acquisition from a package registry (Airbus through Kaggle), show "
        "its licence, and cut it into a collection with exact truth. `cut` takes any large image.",
    )
    parser.add_argument("source", choices=[*ACQUISITIONS, "airbus", "cut"])
    parser.add_argument("image", nargs="?", metavar="IMAGE", help="with `cut`: the image")
    parser.add_argument("--raw", default="data/raw", help="folder for what is fetched (default: data/raw)")
    parser.add_argument("--out", metavar="DIR", help="the collection (default: data/processed/NAME[-hard])")
    parser.add_argument("--n-images", type=int, metavar="N", help="crops to make (default: all)")
    parser.add_argument("--hard", action="store_true", help="each crop processed on its own, other days")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=768, metavar="PX")
    parser.add_argument("--stride", type=int, default=256, metavar="PX")
    _add_workers(parser)
    parser.set_defaults(command=_data)


def _data(options: argparse.Namespace) -> None:
    from dupnet import sources
    from dupnet.scenes import cut_collection

    if (options.image is None) == (options.source == "cut"):
        raise ValueError("name one image with `dupnet data cut IMAGE`, and none with any other source.")
    try:
        if options.source == "airbus":
            print(f"Images: {sources.fetch_airbus(options.raw, print)}")
            return
        if options.source == "cut":
            files = [Path(options.image)]
        else:
            files = sources.fetch(sources.ACQUISITIONS[options.source], options.raw, print)
    except sources.FetchError as error:
        raise OSError(str(error)) from error
    for file in files:
        name = options.source if len(files) == 1 and options.source != "cut" else file.stem
        out = Path(options.out or Path("data/processed", name + ("-hard" if options.hard else "")))
        out = out if len(files) == 1 or not options.out else out / name
        if (out / "truth.csv").exists():
            print(f"{out} is cut already")
            continue
        images, truth = cut_collection(
            sources.read_acquisition(file),
            out,
            n_images=options.n_images,
            hard=options.hard,
            seed=options.seed,
            image_size=options.image_size,
            stride=options.stride,
            acquisition_name=name,
            workers=options.workers,
            progress=True,
        )
        print(f"{len(images)} images with {len(truth)} known overlaps: {out}")


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dir", metavar="DIR", help="output folder of `dupnet find`")


def _add_pair_table(parser: argparse.ArgumentParser) -> argparse.Action:
    """Returns the argument for the images."""
    parser.add_argument("pairs", metavar="TABLE", help="table that `dupnet pairs` wrote")
    return parser.add_argument("images", metavar="IMAGES", help="folder of its images")


def _add_tile_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tile-size", type=int, default=256, metavar="PX", help="side of a tile (256)")


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: one for every core)")


if __name__ == "__main__":
    sys.exit(main())
