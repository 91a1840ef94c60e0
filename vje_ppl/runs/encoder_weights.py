"""An encoder's weights from tensors that another program, or another run, has named in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vje_ppl.errors import UserError
from vje_ppl.networks.encoders import ResNet, SmallResNet
from vje_ppl.networks.timm_encoder import resized
from vje_ppl.networks.torchvision_names import torchvision_names

#: What may stand before the names of an encoder's weights, several of them in any order. If weights are there more than
#: once, the earlier prefix is preferred.
PREFIXES = (
    *("module.", "encoder.", "backbone.", "model.", "guide.", "_orig_mod.", "state_dict.", "model_state_dict."),
    *("teacher.", "student.", "encoder_q.", "base_encoder."),
)

#: What the names of a classifier's weights begin with.
HEADS = ("fc.", "head.", "heads.", "head_dist.", "classifier.", "last_linear.")

#: Weights that a file may lack: vectors, such as those of a normalization, with these shares of all numbers and of all
#: tensors at most.
NEGLIGIBLE, FEW = 0.01, 0.1

#: Names and shapes that an error or a line shows.
SHOWN = 3


@dataclass(frozen=True)
class Matched:
    """An encoder's weights in a file.

    Attributes:
        state: the tensors, by the encoder's own names.
        missing: the encoder's weights that the file lacks, which keep their values.
        ignored: what else is in the file.
    """

    state: dict[str, Tensor]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]

    def line(self, source: str) -> str:
        """Return one line on what was loaded and what was not."""
        total = len(self.state) + len(self.missing)
        parts = [f"{source}: {len(self.state)} of {total} tensors of the encoder"]
        parts += [f"not in the file: {_few(self.missing)}"] if self.missing else []
        heads = [name for name in self.ignored if _is_head(name)]
        rest = [name for name in self.ignored if not _is_head(name)]
        parts += [f"ignored a classifier: {_few(heads)}"] if heads else []
        parts += [f"ignored others: {_few(rest)}"] if rest else []
        return "; ".join(parts)


def matched(encoder: nn.Module, tensors: Mapping[str, Tensor], source: str) -> Matched:
    """Find an encoder's weights among tensors.

    Names are the encoder's own or, for ResNets, torchvision's or those of `nn.Sequential(*resnet.children())`, after
    prefixes such as `module.` and `encoder.`, or any other.

    Args:
        encoder: the encoder; not changed.
        tensors: tensors by name.
        source: where they come from, as the user named it, for errors.

    Raises:
        UserError: if shapes differ, if more than a negligible part of the encoder is missing, or if the tensors belong
            to another encoder that has the same names and more.
    """
    own = {name: tensor for name, tensor in encoder.state_dict().items() if tensor.numel()}
    given, names, outside = _closest(encoder, own, tensors)
    if not names.keys() & given.keys():
        raise UserError(
            f"{source} holds none of the encoder's weights: it has {_few(tensors)}, but the encoder has {_few(names)}; "
            "choose the encoder that the file was made with, or rename the weights if it is this one."
        )
    given = resized(encoder, given)
    state = {names[name]: tensor for name, tensor in given.items() if name in names}
    _check_values({theirs: state[ours] for theirs, ours in names.items() if ours in state}, source)
    _check_shapes(encoder, own, {ours: theirs for theirs, ours in names.items()}, state, source)
    missing = [theirs for theirs, ours in names.items() if ours not in state and not _counts_batches(theirs)]
    _check_missing(own, names, missing, source)
    left = [name for name in given if name not in names and not _counts_batches(name)]
    _check_left(left, names, source)
    return Matched(state, tuple(missing), (*left, *outside))


def load_weights(encoders: Sequence[nn.Module], tensors: Mapping[str, Tensor], source: str) -> str:
    """Load weights into encoders of one kind, and return one line on what was loaded.

    Raises:
        UserError: as `matched`; then no encoder has changed.
    """
    found = matched(encoders[0], tensors, source)
    for encoder in encoders:
        with torch.no_grad():
            encoder.load_state_dict(found.state, strict=False)
    return found.line(source)


def _closest(
    encoder: nn.Module, own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, str], list[str]]:
    """Return the tensors behind a prefix, a mapping of their names to the encoder's, and the names elsewhere.

    Of all prefixes, and of the encoder's names and torchvision's, those are chosen under which most tensors are found.
    """
    theirs = torchvision_names(encoder)
    namings = [{name: name for name in own}, {theirs[name]: name for name in own}]
    if isinstance(encoder, ResNet):
        namings.append({_as_child(theirs[name]): name for name in own})
    best, most = ("", namings[0]), -1
    for prefix in dict.fromkeys([*_prefixes(tensors), *_other_prefixes(tensors, namings)]):
        found = {name.removeprefix(prefix) for name in tensors if name.startswith(prefix)}
        for naming in namings:
            if len(found & naming.keys()) > most:
                best, most = (prefix, naming), len(found & naming.keys())
    prefix, naming = best
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return inside, naming, [name for name in tensors if not name.startswith(prefix)]


def _prefixes(names: Iterable[str]) -> list[str]:
    """Return all combinations of `PREFIXES` that some name begins with, with the empty one first."""
    seen: dict[str, tuple[int, ...]] = {"": ()}
    for name in names:
        place: tuple[int, ...] = ()
        prefix = ""
        while nearest := next((one for one in PREFIXES if name.startswith(one, len(prefix))), None):
            prefix, place = prefix + nearest, (*place, PREFIXES.index(nearest))
            seen.setdefault(prefix, place)
    return sorted(seen, key=lambda prefix: (len(seen[prefix]), seen[prefix]))


def _other_prefixes(names: Iterable[str], namings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what stands before the first of the encoder's names, whatever it is, the shortest first."""
    firsts = {f".{next(iter(naming))}" for naming in namings if naming}
    found = {name.removesuffix(first) + "." for name in names for first in firsts if name.endswith(first)}
    return sorted(found, key=lambda prefix: (len(prefix), prefix))


#: Where the parts of torchvision's ResNets are in `nn.Sequential(*resnet.children())`, which lightly's examples train.
_CHILDREN = {"conv1": "0", "bn1": "1", **{f"layer{number}": str(number + 3) for number in range(1, 5)}}


def _as_child(name: str) -> str:
    """Return a name of torchvision's with the place of its first part in place of the part's name."""
    part, dot, rest = name.partition(".")
    return f"{_CHILDREN.get(part, part)}{dot}{rest}"


def _check_values(given: Mapping[str, Tensor], source: str) -> None:
    """Refuse tensors that are no weights of a network: integers, complex or sparse ones, NaN and infinite values."""
    for name, tensor in given.items():
        if _counts_batches(name):
            continue
        problem = None
        if tensor.is_meta or tensor.layout != torch.strided or not tensor.is_floating_point():
            kind = "meta" if tensor.is_meta else str(tensor.layout).removeprefix("torch.")
            problem = f"is a {kind} tensor of {str(tensor.dtype).removeprefix('torch.')}, not one of dense floats"
        elif not tensor.isfinite().all():
            problem = "has NaN or infinite values"
        if problem is not None:
            raise UserError(f"{source} cannot be loaded: {name} {problem}; save the weights again, as floats.")


def _check_shapes(
    encoder: nn.Module, own: Mapping[str, Tensor], theirs: Mapping[str, str], state: Mapping[str, Tensor], source: str
) -> None:
    other = [name for name, tensor in state.items() if tensor.shape != own[name].shape]
    if not other:
        return
    first = other[0]
    shapes = f"{theirs[first]} is {_shape(state[first])} in the file and {_shape(own[first])} in the encoder"
    more = f", and {len(other) - 1} more tensors differ" if len(other) > 1 else ""
    raise UserError(f"{source} does not fit the encoder: {shapes}{more}; {_advice(encoder, first, state[first], own)}.")


def _advice(encoder: nn.Module, name: str, found: Tensor, own: Mapping[str, Tensor]) -> str:
    """Return what to do about a tensor of another shape."""
    expected = own[name]
    if isinstance(encoder, ResNet | SmallResNet) and name == "stem.0.weight" and found.dim() == 4:
        stem = {3: "cifar", 7: "imagenet"}.get(found.shape[-1])
        if stem is not None and found.shape[-1] != expected.shape[-1] and found.shape[0] == expected.shape[0]:
            return f"give encoder.stem={stem}, the stem of the file"
    if found.dim() == 4 and found.shape[0] == expected.shape[0] and found.shape[2:] == expected.shape[2:]:
        count = found.shape[1]
        return (
            f"the file's encoder takes images of {count} channel(s); give data.channels={count}, which image_folder, "
            "webdataset and hf_dataset have, or convert the images"
        )
    return "choose the encoder that the file was made with"


def _check_missing(own: Mapping[str, Tensor], names: Mapping[str, str], missing: Sequence[str], source: str) -> None:
    statistics = [name for name in missing if name.rpartition(".")[2] in ("running_mean", "running_var")]
    vectors = [own[names[name]] for name in missing if name not in statistics]
    small = all(one.dim() <= 1 for one in vectors) and len(vectors) <= FEW * len(names)
    if small and sum(one.numel() for one in vectors) <= NEGLIGIBLE * sum(one.numel() for one in own.values()):
        if not statistics:
            return
        raise UserError(
            f"{source} has no batch statistics, which the encoder's batch normalization needs; give norm=group."
        )
    raise UserError(
        f"{source} lacks {len(missing)} of the encoder's {len(names)} tensors, {_few(missing)}, which would stay "
        "untrained; choose the encoder that the file was made with."
    )


def _check_left(left: Sequence[str], names: Mapping[str, str], source: str) -> None:
    """Refuse weights within the encoder that it has no place for; heads and other networks are no part of it."""
    tops = {name.partition(".")[0] for name in names}
    within = [name for name in left if name.partition(".")[0] in tops and not _is_head(name)]
    if not within:
        return
    if all(name.rpartition(".")[2] in ("running_mean", "running_var") for name in within):
        raise UserError(
            f"{source} has batch statistics ({_few(within)}), but the encoder has no batch normalization; give "
            "norm=batch."
        )
    raise UserError(
        f"{source} has tensors that the encoder has no place for: {_few(within)}; choose the encoder that the file was "
        "made with."
    )


def _counts_batches(name: str) -> bool:
    """Return whether a buffer only counts batches, which some programs do not save and nothing reads."""
    return name.rpartition(".")[2] == "num_batches_tracked"


def _is_head(name: str) -> bool:
    return name.startswith(HEADS)


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"
