"""The training loop: steps, epochs, and a state to resume from between any two steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from vje_ppl.data.batches import TrainingBatches
from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method, Terms
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.parallel.interrupt import AgreedSignal, Interrupt
from vje_ppl.parallel.randomness import random_states, set_random_states
from vje_ppl.runs import checkpoint
from vje_ppl.runs.checkpoint import CheckpointInterval
from vje_ppl.runs.folder import RunFolder
from vje_ppl.train.monitor import Finiteness, Monitor, collapse_warning
from vje_ppl.train.online_knn import OnlineKNN
from vje_ppl.train.online_rank import OnlineRank
from vje_ppl.train.run_log import RunLog
from vje_ppl.train.step import TrainingStep, share_buffers

Row = dict[str, Any]

#: Columns of the first row that every later row with k-NN repeats.
BASELINES = ("knn/pixels", "knn/untrained_z", "knn/untrained_mu")


class TrainingLoop:
    """Trains a method, epoch by epoch, in a run folder.

    Args:
        fabric: a launched Fabric.
        module: the encoder and everything trained with it; moved to the device here.
        batches: augmented training batches.
        knn: k-NN evaluation, or None for data without labels.
        folder: the run folder; only the first process writes to it.
        config: the resolved configuration.
        log: the run's log; only the first process writes to it.
        describe: facts about the run for every checkpoint, such as versions; plain containers.
        rank: measurement of RankMe and LiDAR, or None.

    Attributes:
        collapse_advice: what may help when embeddings collapse; by default, the method's own advice.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: Method,
        batches: TrainingBatches,
        knn: OnlineKNN | None,
        folder: RunFolder,
        config: DictConfig,
        log: RunLog,
        describe: dict[str, Any],
        rank: OnlineRank | None = None,
    ) -> None:
        self._log, self._rank = log, rank
        self._fabric, self._knn, self._folder, self._config, self._describe = fabric, knn, folder, config, describe
        self._plain = module
        self.collapse_advice = module.collapse_advice
        self._take_step = TrainingStep(fabric, module, config, batches.steps_per_epoch)
        self._batches = batches
        self._skips = config.trainer.on_nonfinite == "skip"
        self._monitor = Monitor(module, self._skips)
        self.epoch = 0  # completed epochs
        self._step_in_epoch = 0
        self._interval = CheckpointInterval()
        self._clock = {"seconds": 0.0, "wait": 0.0, "images": 0.0}  # of the present epoch, including interruptions
        self.history: list[Row] = []
        self._bar: tqdm | None = None

    @property
    def epochs(self) -> int:
        """Epochs of the whole run."""
        return self._config.trainer.epochs

    @property
    def _step(self) -> int:
        return self.epoch * self._batches.steps_per_epoch + self._step_in_epoch

    def fit(self) -> int:
        """Train to the end, or to the first signal.

        Returns:
            Exit code: 0, or 128 plus the signal's number, after the state is saved.

        Raises:
            UserError: if the objective is no longer finite; the last good checkpoint stays.
        """
        with Interrupt() as interrupt, self._progress() as self._bar, closing(self._log):
            self._log.start(self._step if self.history else None, anew=self._config.resume == "never")
            if not self.history:
                self._record({"epoch": 0, "step": 0, **self._plain.learned_numbers(), **self._evaluate(first=True)})
                self._save()
            agreed, number = AgreedSignal(self._fabric.world_size), None
            while self.epoch < self.epochs and number is None:
                number = self._train_epoch(lambda: agreed(interrupt.signal))
            if number is not None:
                self._save()
                self._say(f"interrupted: state saved in {self._folder.path}; rerun the same command to resume")
        return 0 if number is None else 128 + number

    def _train_epoch(self, signal: Callable[[], int | None]) -> int | None:
        """Train to the end of the epoch or to a signal, and return the signal."""
        trainer = self._config.trainer
        before = time.perf_counter()
        for batch in self._batches.epoch(self.epoch, self._step_in_epoch):
            self._clock["wait"] += batch.wait_s
            self._clock["images"] += self._config.batch_size
            terms = self._take_step(self._step, batch.views)
            self._monitor.update(self._step, terms, self._take_step.finiteness)
            self._step_in_epoch += 1
            now = time.perf_counter()
            self._clock["seconds"] += now - before
            before = now
            if self._bar is not None:
                self._bar.update()
            if self._step % trainer.log_every == 0:
                self._stop_if_not_finite()
                self._log_point(terms)
            if trainer.checkpoint_every and self._step % trainer.checkpoint_every == 0:
                self._save()
            number = signal()
            if number is not None:
                return number
        self._end_epoch()
        return None

    def _end_epoch(self) -> None:
        self._stop_if_not_finite(of_epoch=True)
        means = self._monitor.means(self._mean)
        skipped, first = self._monitor.skipped()
        clock = self._clock
        self.epoch, self._step_in_epoch = self.epoch + 1, 0
        row = {
            "epoch": self.epoch,
            "step": self._step,
            **means,
            **self._plain.learned_numbers(),
            **({"skipped_steps": skipped} if self._skips else {}),
            "lr": self._take_step.learning_rate,
            "images_per_s": clock["images"] / clock["seconds"],
            "wait_share": clock["wait"] / clock["seconds"],
            "seconds": clock["seconds"],
            **self._evaluate(),
        }
        self._monitor.reset()
        self._clock = dict.fromkeys(clock, 0.0)
        if skipped:
            self._say(f"warning: {skipped} step(s) of epoch {self.epoch} skipped for not being finite, from {first}")
        warning = collapse_warning(means, self.collapse_advice)
        if warning:
            self._say(warning)
        self._record(row)
        self._save(always=self.epoch == self.epochs)

    def _evaluate(self, first: bool = False) -> Row:
        """k-NN accuracies and ranks, if they are due, in the first process; all processes embed images."""
        every = self._config.knn.every
        due = every and (first or self.epoch % every == 0 or self.epoch == self.epochs)
        if not due or (self._knn is None and self._rank is None):
            return {}
        share_buffers(self._plain)
        with self._fabric.autocast():
            ranks: Row = {} if self._rank is None else self._rank.measured(self._plain)
            row: Row = {} if self._knn is None else self._knn.embeddings(self._plain)
        return self._with_baselines(row, first) | ranks

    def _with_baselines(self, row: Row, first: bool) -> Row:
        """Add to k-NN accuracies those of raw pixels and of the untrained network."""
        if self._knn is None:
            return row
        pixels = {"knn/pixels": self._knn.pixels()} if first else {}
        if not row:  # not the first process
            return row
        if first:
            row |= pixels | {"knn/untrained_z": row["knn/z"]}
            row |= {"knn/untrained_mu": row["knn/mu"]} if "knn/mu" in row else {}
        else:
            row |= {key: value for key, value in self.history[0].items() if key in BASELINES}
        return row

    def _record(self, row: Row) -> None:
        self.history.append(row)
        if self._fabric.is_global_zero:
            self._folder.write_rows(self.history)
            self._log.row(row)
            if self.epoch in (1, self.epochs) or ("knn/z" in row and self.epoch > 0):
                self._draw_curves()
        if self._bar is None or "knn/z" in row:
            self._say(_line(row, self.epochs))

    def _draw_curves(self) -> None:
        from vje_ppl.pictures.curves import draw_curves  # imported after the first steps: Matplotlib takes a second

        title = f"{self._folder.path.name}: {self.epoch} of {self.epochs} epochs"
        draw_curves(self.history, self._folder.curves, title)

    def _log_point(self, terms: Terms) -> None:
        """Log the last step, averaged over processes, if there is a logger."""
        if not self._log.is_kept:
            return
        values = {"loss": terms.loss, **terms.scalars()}
        means = self._mean(torch.stack([value.detach().double() for value in values.values()])).tolist()
        if self._fabric.is_global_zero:
            self._log.point(self._step, dict(zip(values, means, strict=True)) | {"lr": self._take_step.learning_rate})

    def _stop_if_not_finite(self, of_epoch: bool = False) -> None:
        failure_reason = self._monitor.failure_reason(self._earliest, of_epoch=of_epoch)
        if failure_reason:
            raise UserError(
                f"{failure_reason[0].upper()}{failure_reason[1:]}; the last good checkpoint is "
                f"{self._folder.checkpoints / checkpoint.LAST}; lower optimizer.lr, set trainer.clip, "
                f"{'' if self._skips else 'skip such steps with trainer.on_nonfinite=skip, '}or look closer "
                "with debug=true."
            )

    def _stop_if_parameters_are_not_finite(self) -> None:
        names, parameters = zip(*self._plain.named_parameters(), strict=True)
        seen = Finiteness(names, torch.stack([~torch.isfinite(one).all() for one in parameters]))
        if seen.any_bad:
            name = names[int(seen.bad.int().argmax())]
            raise UserError(
                f"Parameters became non-finite by step {self._step}, {name} among them; the last good checkpoint is "
                f"{self._folder.checkpoints / checkpoint.LAST}; lower optimizer.lr, or set trainer.clip."
            )

    def _save(self, always: bool = True) -> None:
        """Write a checkpoint; unless `always`, only if one is due, which the first process decides."""
        self._stop_if_not_finite()
        self._stop_if_parameters_are_not_finite()
        self._monitor.average(self._mean)
        if self._fabric.is_global_zero and (always or self._interval.due):
            self._log.save()
            with self._interval:
                checkpoint.save(self._folder.checkpoints / checkpoint.LAST, self.state())
        self._fabric.barrier()

    def _mean(self, local: Tensor) -> Tensor:
        """Return the mean over processes."""
        return cast(Tensor, self._fabric.all_reduce(local))

    def _earliest(self, local: Tensor) -> Tensor:
        """Return the minimum over processes."""
        return cast(Tensor, self._fabric.all_reduce(local, reduce_op="min"))

    def state(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on, as tensors and plain containers."""
        return {
            **self._describe,
            "epoch": self.epoch,
            "step_in_epoch": self._step_in_epoch,
            "finished": self.epoch == self.epochs,
            "module": self._plain.state_dict(),
            "optimizer": self._take_step.optimizer.state_dict(),
            "monitor": self._monitor.state(),
            "clock": self._clock,
            "history": self.history,
            "random": random_states(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Resume from a state.

        Raises:
            UserError: if it belongs to another architecture.
        """
        try:
            self._plain.load_state_dict(state["module"])
            self._take_step.load_optimizer(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"The checkpoint has another architecture: {' '.join(str(error).split())[:200]}; give another "
                "run.name, or resume=never."
            ) from error
        self.epoch, self._step_in_epoch = state["epoch"], state["step_in_epoch"]
        self._clock, self.history = dict(state["clock"]), list(state["history"])
        try:
            self._monitor.load_state(state["monitor"], self._fabric.device)
            set_random_states(state["random"])
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"Cannot restore the monitor or random state from the checkpoint ({type(error).__name__}). Start again "
                "with resume=never."
            ) from error

    def _progress(self) -> AbstractContextManager[tqdm | None]:
        wanted = self._config.trainer.progress
        shown = self._fabric.is_global_zero and (sys.stderr.isatty() if wanted == "auto" else wanted)
        if not shown:
            return nullcontext()
        total = self.epochs * self._batches.steps_per_epoch
        return tqdm(total=total, initial=self._step, desc=self._folder.path.name, unit="step")

    def _say(self, line: str) -> None:
        if self._fabric.is_global_zero and self._bar is not None:
            self._bar.write(line)
        elif self._fabric.is_global_zero:
            print(line, flush=True)


def _line(row: Row, epochs: int) -> str:
    """Return an epoch in one line, for people."""
    parts = [f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}"]
    if "elbo" in row:
        parts += [f"ELBO {row['elbo']:9.2f} nats", f"KL {row['kl']:7.2f}", f"cos {row['cosine']:.3f}"]
    elif "loss" in row:
        parts.append(f"loss {row['loss']:9.4f}")
    if "images_per_s" in row:
        parts.append(f"{row['images_per_s']:6.0f} images/s")
    if row.get("skipped_steps"):
        parts.append(f"{row['skipped_steps']} steps skipped")
    if "knn/z" in row:
        parts.append(f"k-NN z {row['knn/z']:.4f}" + (f", μ {row['knn/mu']:.4f}" if "knn/mu" in row else ""))
    if row["epoch"] == 0 and "knn/pixels" in row:
        parts.append(f"(before training; raw pixels {row['knn/pixels']:.4f})")
    return "  ".join(parts)
