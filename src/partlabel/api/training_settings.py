"""Settings of a training: checked, and as `auto` and `refine` have them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from partlabel.errors import UsageError
from partlabel.labels import LabelTable
from partlabel.methods.auto import AUTO, Choice, choose
from partlabel.methods.catalogue import entry
from partlabel.progress import Reporter
from partlabel.runs.processes import check_group
from partlabel.runs.settings import TrainSettings, defaults, given_for_steps, make_settings


def checked_settings(settings: dict[str, Any], searches: bool, refine: str | None) -> TrainSettings:
    """Settings that go together and with this machine; those of the method that refines, where there is one."""
    from partlabel.methods.build import method_config, setting_names
    from partlabel.methods.fitted import check_fitted
    from partlabel.training.build import compute_device

    if refine == AUTO:
        raise UsageError("refine names the method of the steps that follow a fit, such as bce; auto may be the fit")
    if refine is not None:
        settings = {**settings, "method": refine}
    checked = make_settings(settings, setting_names(str(settings.get("method", "bce"))))
    if checked.method != AUTO:
        method_config(checked.method, checked.method_settings)
        check_fitted(checked, searches)
        if entry(checked.method).joint_space and "joint_space" not in checked.model_fields_set:
            checked = make_settings(
                {**settings, "joint_space": entry(checked.method).joint_space}, setting_names(checked.method)
            )
    if searches or checked.refit or refine:
        if checked.devices not in {"auto", "1", 1}:
            raise UsageError(
                "find_lr, refine and refit train several times, which one group of processes cannot; use one device"
            )
        checked = checked.model_copy(update={"devices": 1})
    if not checked.holdout and (checked.refit or checked.select == "best"):
        raise UsageError("refit and select='best' rest on held-out cells; set holdout above 0")
    check_group(checked.devices, on_cpu=compute_device(checked).type == "cpu")
    if checked.amp == "fp16" and compute_device(checked).type == "cpu":
        raise UsageError("amp fp16 needs a GPU; a CPU has bf16")
    kind, colon, folder = checked.backbone.partition(":")
    if kind == "local-dir" and colon:  # so that the run can go on from any directory
        checked = checked.model_copy(update={"backbone": f"local-dir:{Path(folder).resolve()}"})
    return checked


def settings_of_steps(
    method: str, steps: TrainSettings, labels: LabelTable, facts: dict[str, Any], reporter: Reporter
) -> TrainSettings:
    """The settings of the steps that refine a fit, whose own settings are put among the facts of the run."""
    from partlabel.training.first_fit import fit_settings

    if method == AUTO:
        choice = choose(labels, frozen=True)
        fixed = "stages" in steps.model_fields_set or steps.train_last or steps.joint_space != "off"
        steps = steps if fixed else steps.model_copy(update={"stages": choice.stages})
        reporter.say(str(replace(choice, stages=steps.stages)))
        method = choice.method
        facts["auto"] = {"kind": choice.facts.kind, "reason": choice.reason}
    facts["start"] = fit_settings(method, steps).model_dump(mode="json")
    return steps


def settings_taken(
    choice: Choice,
    settings: TrainSettings,
    find_lr: bool | Sequence[float],
    facts: dict[str, Any],
    reporter: Reporter,
) -> tuple[TrainSettings, bool | Sequence[float]]:
    """Settings and learning rates to search of the method that "auto" took, without those that have no effect on it."""
    reporter.say(str(choice))
    facts["auto"] = {"kind": choice.facts.kind, "reason": choice.reason}
    settings = settings.model_copy(update={"method": choice.method, "method_settings": choice.settings})
    if choice.stages != settings.stages:
        settings = settings.model_copy(update={"stages": choice.stages})
    if not entry(settings.method).fitted:
        return settings, find_lr
    idle = given_for_steps(settings)
    if idle or find_lr:
        named = ", ".join([*idle, *(["find_lr"] if find_lr else [])])
        reporter.say(f"{settings.method} takes no steps: {named} without effect")
    return settings.model_copy(update=defaults(idle)), False


def choice_for(labels: LabelTable, settings: TrainSettings, init: Path | str | None) -> Choice:
    """What "auto" takes; what the user set takes precedence over the rule's settings."""
    frozen = settings.freeze and not settings.train_last
    choice = choose(labels, frozen=frozen, pretrained=settings.pretrained or init is not None)
    stages = (
        settings.stages if "stages" in settings.model_fields_set or settings.joint_space != "off" else choice.stages
    )
    return replace(choice, settings={**choice.settings, **settings.method_settings}, stages=stages)
