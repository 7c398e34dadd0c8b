"""One fine-tune, from row files to a model folder, inside the child process."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import peft
import torch
import transformers
from transformers import TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from contender.durations import Durations
from contender.evaluation.metrics import METRICS
from contender.kinds.base import Kind
from contender.records import CurvePoint, TrainReport
from contender.spending import JOULES_PER_KWH
from contender.text import listed
from contender.training.checkpoints import Checkpoints
from contender.training.clock import EpochClock
from contender.training.devices import cpu_cores, hardware
from contender.training.dropout import dropouts
from contender.training.embedding import restore_rows
from contender.training.energy import meter_of
from contender.training.head import Probe, last_layer
from contender.training.lora import merge, save_adapter
from contender.training.monitor import Monitor, Stopped
from contender.training.options import EVALUATION_BATCH, Attempt, Job
from contender.training.prepare import PLAN, Prepared, job_digest, loss_of, prepare, restore_plan
from contender.training.qlora import in_full_precision
from contender.training.rates import rates_of
from contender.training.saving import adapter_folder, save_model_files
from contender.training.trainer import JobTrainer, diverged, figures

CURVE_POINTS = 200


def finetune(job: Job, folder: Path, monitor: Monitor, attempt: Attempt) -> TrainReport:
    """Trains `job`, continuing from the newest whole checkpoint in `folder`, and writes the model to `job.output`; a trial writes none."""
    _set_up(job)
    monitor.phase("preparing")
    checkpoints = Checkpoints(folder / "checkpoints", job_digest(job))
    found = checkpoints.latest()
    if found and not attempt.limits.ends_with_best and attempt.limits.are_reached(found[1].seconds, found[1].joules):
        monitor.stop.spend()
        raise Stopped(resumable=True)
    if found:
        restore_plan(folder, found[0])
    set_seed(job.options.seed)
    began = time.monotonic()
    prepared = prepare(job, folder, monitor, attempt)
    preparing = time.monotonic() - began
    trainer = _trainer(job, folder, prepared, monitor, attempt, checkpoints)
    clock = EpochClock(trainer, attempt.trial)
    trainer.add_callback(clock)
    if found is None:
        trainer.train()
    else:
        trainer.resume(*found)
    if attempt.trial is None:
        trainer.restore_best()
        _finish(job, prepared)
    durations = Durations(preparing=preparing, of_rows=prepared.row_seconds, epochs=tuple(clock.epochs))
    return _report(job, prepared, trainer, attempt).model_copy(update={"durations": durations})


def _set_up(job: Job) -> None:
    if job.options.deterministic:
        torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(
        True
    )  # before the pool of threads, which inherits it: decayed moments become denormal, and those are slow
    torch.set_num_threads(cpu_cores())
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def _trainer(
    job: Job, folder: Path, prepared: Prepared, monitor: Monitor, attempt: Attempt, checkpoints: Checkpoints
) -> JobTrainer:
    checks = len(prepared.validation) > 0
    trainer = JobTrainer(
        model=prepared.trained,
        args=_arguments(job, folder, prepared, attempt, checks),
        data_collator=prepared.collate,
        train_dataset=prepared.train,
        eval_dataset=prepared.validation if checks else None,
        compute_loss_func=loss_of(job, prepared.kind, prepared.train),
        compute_metrics=None if prepared.kind.chooses_by_loss else _metrics(job, prepared.kind),
        preprocess_logits_for_metrics=prepared.kind.kept,
        monitor=monitor,
        checkpoints=checkpoints,
        best_weights=folder / "best" / "model.safetensors",
        primary="loss" if prepared.kind.chooses_by_loss else job.primary_metric,
        higher_is_better=not prepared.kind.chooses_by_loss and METRICS[job.primary_metric].higher_is_better,
        patience=job.options.early_stopping,
        attempt=attempt,
        plan=folder / PLAN,
        rates=_rates(job, prepared),
        meter=meter_of(prepared.model.device),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _rates(job: Job, prepared: Prepared) -> dict[str, float]:
    """Of the parameters that do not learn at the job's rate."""
    if job.method == "head":
        return {}
    head = dict.fromkeys(prepared.kind.above_encoder(prepared.trained), prepared.plan.head_learning_rate)
    return rates_of(prepared.trained, job.options.layer_decay, prepared.plan.learning_rate, head)


def _arguments(job: Job, folder: Path, prepared: Prepared, attempt: Attempt, checks: bool) -> TrainingArguments:
    options, plan = job.options, prepared.plan
    steps = math.ceil(len(prepared.train) / options.batch_size * options.epochs)
    at_once = attempt.at_once(job)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=options.batch_size // at_once,
        per_device_eval_batch_size=attempt.at_once(job, max(EVALUATION_BATCH, options.batch_size)),
        num_train_epochs=options.epochs,
        learning_rate=plan.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=options.warmup,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        seed=options.seed,
        use_cpu=prepared.model.device.type == "cpu",  # bf16 is refused on a CPU that was not asked for
        bf16=plan.precision == "bf16",
        fp16=plan.precision == "fp16",
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch" if checks else "no",
        prediction_loss_only=prepared.kind.chooses_by_loss,
        save_strategy="no",  # by the clock, not by steps: the trainer's own callback
        logging_steps=max(1, steps // CURVE_POINTS),
        logging_nan_inf_filter=False,  # it hides what must stop the job
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    arguments._n_gpu = min(
        arguments.n_gpu, 1
    )  # else every visible device takes a share of each batch, and the batch size changes
    return arguments


def _metrics(job: Job, kind: Kind) -> Callable[[Any], dict[str, float]]:
    scores = kind.scorer(job)

    def compute(prediction: Any) -> dict[str, float]:
        # The last step of an epoch can break the weights without a loss that shows it.
        if not np.isfinite(prediction.predictions).all():
            raise diverged("the model's answers on validation are no numbers any more")
        return scores(prediction.predictions, prediction.label_ids)

    return compute


def _finish(job: Job, prepared: Prepared) -> None:
    if not all(torch.isfinite(value).all() for value in prepared.trained.parameters()):
        raise diverged("the trained weights hold infinities or NaN")
    if isinstance(prepared.trained, Probe):
        prepared.trained.fold_into(last_layer(prepared.model, len(job.labels), job.base))
    elif prepared.adapted is not None:
        save_adapter(prepared.adapted, adapter_folder(Path(job.output)))
        if job.method == "qlora":
            prepared.model = _whole(job, prepared)
        else:
            merge(prepared.adapted)
    elif prepared.kind.compact_embeddings:
        restore_rows(prepared.model)
    save_model_files(prepared.model, prepared.processor, prepared.plan.max_length, Path(job.output))


def _whole(job: Job, prepared: Prepared) -> Any:
    """The base in full precision with what the adapters learnt, as the one in 4 bits was set up."""
    model = prepared.kind.load_model(Path(job.base), job.labels, dropouts(job))
    model.generation_config = prepared.model.generation_config
    for name in ("pad_token_id", "use_cache"):
        setattr(model.config, name, getattr(prepared.model.config, name))
    return in_full_precision(prepared.adapted, model)


def _report(job: Job, prepared: Prepared, trainer: JobTrainer, attempt: Attempt) -> TrainReport:
    plan, state, seconds, joules = prepared.plan, trainer.state, trainer.seconds(), trainer.joules()
    examples = round((state.epoch or 0) * _examples(prepared))
    return TrainReport(
        steps=state.global_step,
        epochs=state.epoch or 0.0,
        examples=examples,
        seconds=seconds,
        examples_per_second=examples / max(seconds, 1e-9),
        learning_rate=plan.learning_rate,
        head_learning_rate=plan.head_learning_rate if job.method != "head" else None,
        batch_size=job.options.batch_size,
        precision=plan.precision,
        precision_reason=plan.precision_reason,
        device=trainer.args.device.type,
        best_metric=state.best_metric,
        best_step=state.best_global_step,
        stopped_early=trainer.stopped_early,
        budget_spent=trainer.budget_spent,
        resumed_from_step=trainer.before.step if trainer.before else 0,
        attempt=attempt.number,
        micro_batch_size=attempt.at_once(job),
        checkpoints=trainer.checkpoints_written,
        checkpoint_seconds=trainer.checkpoint_seconds,
        energy_kwh=None if joules is None else joules / JOULES_PER_KWH,
        energy_source=None if joules is None else trainer.meter.source,
        notes=(*_notes(job, prepared, attempt), *_ended_by_budget(job, trainer)),
        curve=tuple(_curve(state.log_history)),
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "datasets": datasets.__version__,
        },
        hardware=hardware(trainer.args.device),
    )


def _examples(prepared: Prepared) -> int:
    """That an epoch trains on; a row may hold several."""
    several = "examples" in prepared.train.column_names
    return int(np.sum(prepared.train["examples"][:])) if several else len(prepared.train)


def _ended_by_budget(job: Job, trainer: JobTrainer) -> Iterator[str]:
    if trainer.budget_spent:
        done, limits = trainer.state.epoch or 0.0, trainer.attempt.limits.text
        where = f"ended after {done:.3g} of {job.options.epochs:g} epochs, where its budget of {limits} was spent"
        yield f"{where}; this is the best model so far"


def _notes(job: Job, prepared: Prepared, attempt: Attempt) -> Iterator[str]:
    if constant := getattr(prepared.processor, "constant", ()):
        yield f"not read, as all training rows hold the same: {listed(constant)}"
    if "cut" in prepared.train.column_names and (cut := int(np.sum(prepared.train["cut"][:]))):
        rows, length = len(prepared.train), prepared.plan.max_length
        yield f"{cut:,} of {rows:,} training rows are longer than {length:,} tokens and were cut"
    if "examples" in prepared.train.column_names and (left_out := prepared.rows - _examples(prepared)):
        rows, length = prepared.rows, prepared.plan.max_length
        yield f"{left_out:,} of {rows:,} training rows are longer than {length:,} tokens and were left out"
    at_once = attempt.at_once(job)
    if at_once == job.options.batch_size:
        return
    yield f"memory held {at_once} examples at once; gradients were added up to steps of {job.options.batch_size}"
    if any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in prepared.trained.modules()):
        yield f"batch normalisation saw {at_once} examples at once, so its statistics are other than with a whole step's"


def _curve(history: list[dict[str, float]]) -> Iterator[CurvePoint]:
    for entry in history:
        metrics = figures(entry)
        if "loss" in entry or metrics:
            yield CurvePoint(
                step=int(entry["step"]),
                epoch=entry["epoch"],
                loss=entry.get("loss"),
                learning_rate=entry.get("learning_rate"),
                metrics=metrics,
            )
