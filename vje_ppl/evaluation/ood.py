"""eval=ood: can the run tell images of another data set from its own test images?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.build import build
from vje_ppl.data.conform import conform
from vje_ppl.data.fingerprint import digest
from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.data.selection import at_most
from vje_ppl.errors import UserError
from vje_ppl.evaluation.detection_metrics import DEFINITIONS, detection
from vje_ppl.evaluation.evaluate_options import listed
from vje_ppl.evaluation.evaluated_run import EvaluatedRun, say
from vje_ppl.evaluation.ood_picture import ood_figure
from vje_ppl.evaluation.outcome import Outcome, read_report
from vje_ppl.evaluation.score_tables import ood_table
from vje_ppl.evaluation.scored_images import scorer


def evaluate_ood(evaluated: EvaluatedRun) -> Outcome:
    """Scores the run's test images, and test images of each other data set, and compares.

    Nothing is chosen on either of them: scores and their options are fixed beforehand.

    Returns:
        A row for each data set and score.

    Raises:
        UserError: for a data set that is unknown, not there, or the run's own.
    """
    test = evaluated.test
    known = known_names(evaluated)
    others = [open_other(one, evaluated, known) for one in listed(evaluated.options.ood.data)]
    if not others:
        raise UserError("ood.data expects one data set or more, such as ood.data=[fashion_mnist], got none.")
    say("OOD", f"in: {evaluated.data.name}, {len(test)} images")
    score = scorer(evaluated)
    _, inside = score(test)
    rows: list[dict[str, Any]] = []
    pictures = {}
    for name, images, how in others:
        say("OOD", f"out: {name}, {len(images)} images; {how}")
        _, outside = score(images)
        if not evaluated.shards.is_first:
            continue
        pictures[f"ood_{name}.png"] = ood_figure(inside, outside, evaluated.data.name, name)
        for ours, theirs in zip(inside, outside, strict=True):
            assert ours.kind == theirs.kind
            rows.append(
                {
                    "in": evaluated.data.name,
                    "out": name,
                    "converted": how,
                    **ours.kind.row,
                    "headline": ours.kind.is_headline,
                    **detection(ours.values, theirs.values).row,
                }
            )
    return Outcome(rows, table=ood_table(rows), notes=(DEFINITIONS,), pictures=pictures, facts={"names": known})


def known_names(evaluated: EvaluatedRun) -> dict[str, str]:
    """What earlier results and pictures in the run folder call other data sets, and the images that they are of."""
    earlier = read_report(evaluated.folder).get("ood")
    names = earlier.get("names") if isinstance(earlier, Mapping) else None
    return {str(name): str(images) for name, images in names.items()} if isinstance(names, Mapping) else {}


def open_other(wanted: Any, evaluated: EvaluatedRun, known: dict[str, str]) -> tuple[str, ImageSet, str]:
    """A data set by the name of its configuration, or a mapping with `name` and options: {name: cifar10, root: data}.

    Args:
        wanted: the data set.
        evaluated: the run.
        known: by name, what images other data sets are of; to which this one is added.

    Returns:
        Its name, its test images (or training images, where there are no others) as the run's images are, and how they
        were converted. The name is that of the data set; where another set of images has it already, with a digest.
    """
    config = other_config(wanted, evaluated.options.ood.root)
    data: ImageData = build(config, "ood.data")
    images = data.train if data.test is None else data.test
    found = digest(images)
    own = evaluated.data.train if evaluated.data.test is None else evaluated.data.test
    same_name = data.name == evaluated.data.name
    # The name of a user's own images is their folder's, which says little.
    same_place = images.files is None or _folder(config.get("root")) == _folder(evaluated.root)
    if found == digest(own) or (same_name and same_place):
        raise UserError(f"ood.data={data.name} is what the run was trained on; give another data set.")
    name = f"{data.name}-{found[-8:]}" if same_name or known.get(data.name, found) != found else data.name
    known[name] = found
    converted, how = conform(
        at_most(images, evaluated.options.images.test), evaluated.data.channels, evaluated.data.image_size
    )
    return name, converted, how


def _folder(root: Any) -> Path | None:
    return None if root is None else Path(str(root)).resolve()


def other_config(wanted: Any, root: str | None) -> dict[str, Any]:
    """The configuration of a data set, with its options."""
    options = dict(wanted) if isinstance(wanted, Mapping) else {"name": wanted}
    if "_target_" in options:
        return {str(key): value for key, value in options.items()}
    name = str(options.pop("name", ""))
    path = files("vje_ppl.configs") / "data" / f"{name}.yaml"
    known = sorted(one.name.removesuffix(".yaml") for one in (files("vje_ppl.configs") / "data").iterdir())
    known.remove("custom")
    if name not in known:
        raise UserError(f"ood.data expects data sets among {', '.join(known)}, got {name or wanted}.")
    config = OmegaConf.create(path.read_text(encoding="utf-8"))
    assert isinstance(config, DictConfig)
    config.pop("defaults", None)
    if root is not None and "root" in config:
        config.root = root
    unknown = sorted(set(map(str, options)) - set(map(str, config)))
    if unknown:
        has = sorted(map(str, set(config) - {"_target_"}))
        raise UserError(f"ood.data={name} has no option {unknown[0]}; it has {', '.join(has)}.")
    resolved = OmegaConf.to_container(OmegaConf.merge(config, options), resolve=True)
    assert isinstance(resolved, dict)
    if isinstance(resolved.get("root"), str):
        resolved["root"] = os.path.expanduser(resolved["root"])
    return {str(key): value for key, value in resolved.items()}
