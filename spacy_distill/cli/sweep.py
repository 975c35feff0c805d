"""`spacy-distill sweep`"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table

from ..types import TaskName
from .common import console, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..evaluation.race import Candidate
    from ..students.tiers import Run, Tier


def sweep(
    corpus: Annotated[Path, typer.Argument(help="What `spacy-distill corpus` wrote.")] = Path("corpus"),
    output_dir: Annotated[Path, typer.Argument(help="Where the trained tiers and the winner go.")] = Path(
        "training/sweep"
    ),
    configs: Annotated[Path, typer.Option(help="The folder with the tiers: configs of `spacy train`.")] = Path(
        "configs"
    ),
    tier: Annotated[
        Optional[list[str]], typer.Option(help="Only this tier, named as its config; several allowed.")
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="How often each tier is trained, with seeds 0, 1, … (once a split, if the seed changes nothing).",
            min=1,
        ),
    ] = 3,
    max_mb: Annotated[Optional[float], typer.Option(help="Choose no pipeline larger than this.")] = None,
    within: Annotated[
        Optional[float], typer.Option(help="Choose the fastest that is at most so many points worse than the best.")
    ] = None,
    jobs: Annotated[int, typer.Option(help="How many trainings run at a time, a thread each.", min=1)] = 2,
) -> None:
    """Train every tier of student, compare them on dev, and choose one.

    No kind of student wins everywhere. Reads a corpus and the training configs in CONFIGS that do its task; trains each
    with `spacy train` as it stands, with early stopping, several seeds and one thread. A tier whose packages are not
    installed is left out, and said so. What is finished is never trained again, so a sweep that was cut off goes on
    where it was, and a new tier costs itself alone.

    Compares them on dev: score with 95 % interval over all seeds, size, words a second (on unseen text, and warm), and
    seconds to train. Where the corpus has further splits, each seed has its own, so that there are more texts to
    compare on. Gold for testing is not looked at. Chooses the best; with --max-mb the best of that size; with
    --within 1.0 the fastest within a point of it. If the chosen one needs no dev to know when to stop, as tiny,
    encoder and tuned do not, it is trained once more on train and dev together, unless people labelled dev or it
    becomes larger than --max-mb.

    Writes `OUTPUT_DIR/sweep.json` (every figure), `OUTPUT_DIR/sweep.svg` (score against speed, to open in a browser),
    `OUTPUT_DIR/TIER/SEED` (the trainings) and `OUTPUT_DIR/model-best` (the winner: its best seed on the corpus's own
    split, or what learned from dev too).

    Example: `spacy-distill sweep corpus training/sweep --within 1.0`

    Next: `spacy-distill evaluate training/sweep/model-best assets/gold.jsonl evaluation`, then `release`.
    """
    from ..corpus.build import DEV, LABELS, TRAIN
    from ..corpus.splits import find_splits
    from ..errors import ConfigError, StageError, counted
    from ..evaluation.race import choose, groups, race
    from ..evaluation.race_files import FIGURES, PICTURE, WINNER, read_corpus, write
    from ..evaluation.verdict import FEW_UNITS

    if (output_dir / WINNER).exists() and not (output_dir / FIGURES).exists():
        raise ConfigError(
            f"{output_dir / WINNER} is no sweep's: it would be replaced. Name another folder for the sweep."
        )
    splits = find_splits(corpus)[:seeds]
    parts = [read_corpus(split) for split in splits]
    devs, seen = [dev for dev, _ in parts], parts[0][1]
    tiers = _tiers(configs, devs[0][0].task, devs[0][0].exclusive, tier)
    runs = _train(tiers, splits, output_dir, seeds, jobs)
    with progress("Comparing on dev", len(runs)) as advance:
        candidates = race(runs, devs, seen, progress=advance)
    texts = len({record.text for dev in devs for record in dev})
    try:
        chosen = choose(candidates, max_mb=max_mb, within=within)
    except StageError:
        _print_table(candidates, candidates[0], texts, len(devs))
        raise
    why = _why(max_mb, within)
    _print_table(candidates, chosen, texts, len(devs))
    (winner,) = (one for one in tiers if one.name == chosen.tier)
    last, how = _last(winner, chosen, corpus, output_dir, max_mb)
    files = [split / name for split in splits for name in (TRAIN, DEV, LABELS)]
    write(output_dir, candidates, chosen, last.model, why, files)
    console.print(f"Chosen: {chosen.tier} ({why}), {how}.")
    doubt = [one.tier for one in candidates[1:] if not one.behind.significant]
    if (independent := len(set(groups(devs)))) < FEW_UNITS:
        console.print(
            f"Dev has only {counted(independent, 'text')}, or groups: too few for the intervals to be trusted."
        )
    elif doubt:
        console.print(f"{texts} dev texts do not tell {candidates[0].tier}, the best, from {', '.join(doubt)}.")
    console.print(f"Wrote {output_dir / WINNER}, {output_dir / FIGURES} and {output_dir / PICTURE}")


def _tiers(configs: Path, task: TaskName, exclusive: bool, wanted: list[str] | None) -> list[Tier]:
    from ..errors import ConfigError, StageError
    from ..students.tiers import find_tiers

    found = find_tiers(configs, task, exclusive)
    if unknown := set(wanted or ()) - {one.name for one in found}:
        names = ", ".join(one.name for one in found) or "none"
        raise ConfigError(f"--tier {sorted(unknown)[0]}: {configs} has these for this task: {names}.")
    tiers = [one for one in found if not wanted or one.name in wanted]
    for one in tiers:
        if one.missing:
            console.print(
                f"{one.name} is left out: {', '.join(one.missing)} is not there. Install it (`spacy-distill vectors`"
                f" makes word vectors), or name another one in {one.config} (an encoder may be a folder or, with the"
                " extra `local`, a name on the hub).",
                style="yellow",
            )
    if not any(not one.missing for one in tiers):
        raise StageError(f"{configs} has no training config for this task that can be trained here.")
    return [one for one in tiers if not one.missing]


def _train(tiers: Sequence[Tier], splits: Sequence[Path], output_dir: Path, seeds: int, jobs: int) -> list[Run]:
    """RETURNS (List[Run]): Of all tiers that succeeded on every split. RAISES (StageError): None did."""
    from ..errors import StageError
    from ..students.tiers import train_tier

    todo = [(one, seed) for seed in range(seeds) for one in tiers if one.seeded or seed < len(splits)]
    runs, failures = [], []
    with progress("Training", len(todo)) as advance, ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(train_tier, one, splits, output_dir, seed) for one, seed in todo]
        try:
            for future in futures:
                try:
                    runs.append(future.result())
                    advance(1, f"{runs[-1].tier}, seed {runs[-1].seed}: {'done before' if runs[-1].kept else 'done'}")
                except StageError as error:
                    failures.append(error)
                    advance(1)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for failure in failures:
        console.print(f"Failed: {failure}", style="red")
    done = {(run.tier, run.split) for run in runs}
    partly = {tier for tier, _ in done if any((tier, split) not in done for split in range(len(splits)))}
    for name in sorted(partly):
        console.print(f"{name} is left out: it could not be trained on each of the {len(splits)} splits.", style="red")
    if not (whole := [run for run in runs if run.tier not in partly]):
        raise StageError(f"No tier could be trained. {failures[0]}")
    return whole


def _last(tier: Tier, chosen: Candidate, corpus: Path, output_dir: Path, max_mb: float | None) -> tuple[Run, str]:
    """RETURNS (Tuple[Run, str]): The training whose pipeline is the winner, and in words which one it is."""
    from ..corpus.manifest import MANIFEST, Manifest
    from ..errors import StageError
    from ..evaluation.pipelines import size_mb
    from ..students.tiers import train_on_all

    seed = f"seed {chosen.best.seed}"
    if tier.needs_dev or Manifest.read(corpus / MANIFEST).dev_share is None:  # dev is not for training on
        return chosen.best, seed
    try:
        last = train_on_all(tier, corpus, output_dir)
    except StageError as error:
        console.print(f"Training on dev too failed: {error}", style="red")
        return chosen.best, seed
    if max_mb is not None and size_mb(last.model) > max_mb:
        return chosen.best, f"{seed}; with dev it would have {size_mb(last.model):.1f} MB"
    return last, "trained once more on train and dev together"


def _why(max_mb: float | None, within: float | None) -> str:
    size = f" of {max_mb:g} MB or less" if max_mb is not None else ""
    return f"the best{size}" if within is None else f"the fastest within {within:g} points of the best{size}"


def _print_table(candidates: Sequence[Candidate], chosen: Candidate, texts: int, splits: int) -> None:
    from ..evaluation.race import front
    from ..evaluation.report import figure
    from ..evaluation.verdict import METRIC_NAMES, points

    on_front = front(candidates)
    main = chosen.main
    other = "macro_f1"
    where = f"{texts} dev texts of {splits} splits" if splits > 1 else f"{texts} dev texts"
    table = Table(title=f"Tiers on {where}, the seeds together", title_justify="left")
    table.add_column("tier")
    for name in (
        f"{METRIC_NAMES[main]} (95 %)", METRIC_NAMES[other], "behind (95 %)", "words/s fresh", "warm", "MB", "train s",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for one in candidates:
        score, behind = one.scores[main], one.behind
        table.add_row(
            f"{one.tier}{' ←' if one is chosen else ''}{' (front)' if one in on_front else ''}",
            f"{points(score.value)} ({points(score.low)}–{points(score.high)})",
            points(one.scores[other].value),
            f"{points(behind.value)} ({points(behind.low)}–{points(behind.high)})" if behind.value else "–",
            figure(one.words_per_s_fresh),
            figure(one.words_per_s),
            figure(one.size_mb, 1),
            figure(one.train_s),
        )
    console.print(table)
