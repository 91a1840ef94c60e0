"""The parts that training one run needs, built once from the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vje_ppl.data.augment import Augment
from vje_ppl.data.batches import Share, TrainingBatches, evaluation_batches
from vje_ppl.data.feature_views import check_kind
from vje_ppl.data.fingerprint import fingerprint
from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages
from vje_ppl.data.rotations import with_rotations
from vje_ppl.features.shards import Shards
from vje_ppl.methods.method import Method
from vje_ppl.parallel.devices import launch, uses_channels_last
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.parallel.randomness import seed_everything
from vje_ppl.runs.folder import RunFolder
from vje_ppl.settings.build import build_augment, build_method
from vje_ppl.settings.data import load_data
from vje_ppl.settings.groups import VJE
from vje_ppl.settings.identity import config_digest, default_name
from vje_ppl.settings.model_input import with_model_input
from vje_ppl.terminal.versions import versions
from vje_ppl.train.accumulation import check_accumulation
from vje_ppl.train.batch_size import check_batch_size, check_whitening
from vje_ppl.train.cached_views import embedded_once
from vje_ppl.train.loop import TrainingLoop
from vje_ppl.train.online_knn import OnlineKNN, has_labels
from vje_ppl.train.online_rank import OnlineRank
from vje_ppl.train.options import checked
from vje_ppl.train.run_log import RunLog, named
from vje_ppl.train.start import load_start, set_scaling
from vje_ppl.train.step import prepare

#: Further packages whose versions a run records.
PACKAGES = ("torchvision", "lightning", "numpy")


@dataclass(frozen=True, eq=False)
class Session:
    """One run that is about to be trained.

    Attributes:
        config: the composed configuration of `configs/train.yaml`.
        resolved: the configuration in plain containers, without interpolations.
        data: the images.
        fingerprint: a digest of each part of the data, as the first process computed it.
        augment: how views are made.
        module: the encoder and everything trained with it.
        fabric: the devices and processes.
        folder: the run folder, locked by the first process.
    """

    config: DictConfig
    resolved: dict[str, Any]
    data: ImageData
    fingerprint: dict[str, str]
    augment: Augment
    module: Method
    fabric: Fabric
    folder: RunFolder

    @classmethod
    @contextmanager
    def open(cls, config: DictConfig) -> Iterator[Session]:
        """Build all parts, start the processes, and hold the run folder for as long as the context lasts.

        Raises:
            UserError: if a key has no value, an option is invalid, or a part cannot be built.
        """
        checked(config)
        seed_everything(config.seed)
        data = load_data(config)
        config = with_model_input(config, data.image_size, data.channels)
        resolved = checked(config)
        augment = build_augment(config, data.channels, data.image_size)
        check_kind(data.train, augment)
        module = build_method(config, data.channels, augment.size)
        check_batch_size(config, module)
        fabric = launch(config.trainer, module)
        check_accumulation(config.trainer.accumulate, config.batch_size, fabric.world_size, module)
        check_whitening(config, module, fabric.world_size)
        name = config.run.name or default_name(resolved, _readable_name(data))
        folder = RunFolder(config.run.root, name, create=fabric.is_global_zero)
        if fabric.is_global_zero:
            folder.lock()
        fabric.barrier()  # from here on the folder exists and is locked
        try:
            # The first process reads the files, so that all processes decide alike.
            known = fabric.broadcast(fingerprint(data) if fabric.is_global_zero else {})
            yield cls(config, resolved, data, known, augment, module, fabric, folder)
        finally:
            folder.unlock()

    @property
    def is_first(self) -> bool:
        """Whether this is the first process, which alone prints and writes."""
        return self.fabric.is_global_zero

    @property
    def precision(self) -> str:
        """Fabric's name for the precision of the network."""
        return str(self.fabric.strategy.precision.precision)

    def load_start(self) -> list[str]:
        """Load the weights that a new run starts from, if any, and return a line on each source.

        Raises:
            UserError: if they do not fit.
        """
        set_scaling(self.module, self.data.train)
        return load_start(self.config, self.module, self.data.channels, self.augment.size)

    def loop(self, state: dict[str, Any] | None = None) -> TrainingLoop:
        """Return the training loop, at its start or at a state to resume from."""
        config, fabric = self.config, self.fabric
        module = prepare(fabric, self.module, config.trainer, uses_channels_last(config.trainer, self.module))
        shards = Shards(fabric.global_rank, fabric.world_size)
        data, augment, prepared = self.data, self.augment, self._prepared
        finished = state is not None and state["finished"]
        if config.get("cached_views") and not finished:  # missing in runs of earlier versions
            made_of = [config_digest(self.resolved), self.fingerprint, self.precision]
            data, augment = embedded_once(
                config, data, augment, module, fabric, self.folder.path, shards, state, made_of
            )
            prepared = partial(self._prepared, augment=augment)
        batches = TrainingBatches(
            with_rotations(data.train) if data.rotations else data.train,
            augment,
            batch_size=config.batch_size,
            seed=config.seed,
            device=fabric.device,
            views=config.trainer.views,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        knn = OnlineKNN(data, config.knn, prepared, shards, self.data) if has_labels(data) else None
        rank, wanted = None, config.get("rank")  # not in runs of earlier versions
        if wanted is not None and wanted.images:
            rank = OnlineRank(data.train, augment, wanted, config.seed, fabric.device, shards)
        name = self.folder.path.relative_to(config.run.root).as_posix()
        log = RunLog(named(config, name), self.folder.path, self.resolved)
        loop = TrainingLoop(fabric, module, batches, knn, self.folder, config, log, self._description(), rank)
        if state is not None:
            loop.load_state(state)
        return loop

    def _prepared(self, images: ImageSet, share: Share, augment: Augment | None = None) -> Any:
        """Yield images for evaluation, as many at once as training takes."""
        size = max(1, self.config.batch_size // self.config.trainer.accumulate)
        preprocess = (self.augment if augment is None else augment).evaluation
        return evaluation_batches(images, preprocess, batch_size=size, device=self.fabric.device, share=share)

    def _description(self) -> dict[str, Any]:
        """Return facts about the run, stored in every checkpoint."""
        return {
            "config": self.resolved,
            "versions": versions(*PACKAGES),
            "data": {
                "name": self.data.name,
                "images": len(self.data.train),
                "channels": self.data.channels,
                "image_size": self.data.image_size,
                "in_memory": isinstance(self.data.train, InMemoryImages),
                "fingerprint": self.fingerprint,
            },
        }


def _readable_name(data: ImageData) -> str:
    """Return the experiment or data set (or folder of a user's own images), the method and the ablation, if any."""
    choices = HydraConfig.get().runtime.choices
    experiment, ablation = choices.get("experiment") or "", choices.get("experiment/ablation")
    if experiment.startswith("ablation/"):  # different overrides for the same run
        experiment, ablation = "", ablation or experiment.removeprefix("ablation/")
    method = choices.get("method")
    parts = [experiment or data.name, None if method == VJE else method, ablation]
    return "-".join(part for part in parts if part)
