"""Settings of one training, checked; the same words in Python, on the command line and in a config file."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partlabel.errors import UsageError


class TrainSettings(BaseModel):
    """How to train. `method_settings` go to the method, the rest to the loop.

    Defaults are ours unless they name a source; docs/corel5k.md holds their evidence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    method: str = "bce"
    method_settings: dict[str, Any] = {}

    backbone: str = "resnet50"
    """timm name, `hf-hub:NAME` or `local-dir:FOLDER`. Without tag the choice of weights is that of timm: resnet101 is
    resnet101.a1h_in1k, while papers that start from torchvision mean resnet101.tv_in1k.
    """
    pretrained: bool = True
    """Load the backbone's pretrained weights; the word on the command line is --from-scratch."""
    backbone_args: dict[str, Any] = {}
    """Further arguments of the timm architecture, such as output_stride."""
    size: int | None = Field(default=None, ge=8)
    """Side of the square input in pixels; None: the backbone's own."""
    stages: int = Field(default=1, ge=1, le=2)
    """How many of the last stages of the backbone give features. 2: the maps of the stage before the last, averaged to
    as many places, are put behind its own. Ours.
    """
    preprocessing: Literal["backbone", "imagenet"] = "backbone"
    """Mean, spread and interpolation of images: those of the backbone's weights, as timm has them, or those of
    torchvision's weights for ImageNet, with which CSL's official code feeds CLIP too.
    """
    freeze: bool = False
    """Train on maps computed once; the backbone keeps its weights."""
    train_last: int = Field(default=0, ge=0)
    """How many of the last stages of a frozen backbone to train all the same."""
    maps_by: Literal["auto", "torch", "onnxruntime"] = "auto"
    """What computes the maps of a frozen backbone on a CPU; "auto": onnxruntime (extra `onnx`) where it is installed,
    the images are at least 1,000 and its maps equal torch's to a thousandth, else torch.
    """
    train_parts: Literal["all", "last_stage"] = "all"
    """What to train of a backbone without `freeze`: all, or the last stage and the global branches (PU-MLC's official
    code).
    """
    frozen_norm: bool | Literal["all"] = False
    """Batch norms of the backbone keep their running statistics in training; "all": those of the head too, as PU-MLC's
    official code has them.
    """
    local_global: bool = False
    """Give every 3 × 3 convolution of the backbone a global branch (PU-MLC); not on a frozen one."""
    joint_space: Literal["off", "projected", "plain", "attended"] = "off"
    """Take the maps of a tower that was trained with texts (CLIP, SigLIP), and a vector of the whole image, in the
    space that its images and texts share. Of a CLIP ResNet, "projected": each location through the value and output
    projections of the attention pooling (CSL with CLIP at 448 pixels, DualCoOp); "plain": the same without position
    codes (TaI-DPT, DualCoOp++); "attended": each location an output of that attention (CSL at 224). Of other towers
    the three are the same. "off": the maps before the pooling; what methods on text towers take unless it is given is
    in their documentation.
    """
    branch_scale: Literal["constant", "normal"] = "constant"
    """What the scale of a global branch starts from: 0.0001 (PU-MLC's paper), or draws from N(0, 0.0001) (its official
    code).
    """
    lora_rank: int = Field(default=0, ge=0)
    """Train changes of this rank to the backbone's weights, which are frozen themselves (LoRA); 0: none. CSL with CLIP
    (official code; the paper does not name LoRA): 8.
    """
    lora_alpha: float = Field(default=32.0, gt=0)
    """Low-rank changes are scaled by alpha / rank. CSL with CLIP: 32."""
    lora_targets: Literal["all", "residual"] = "all"
    """Which weights are changed: "all" linear layers and convolutions but the first; "residual", convolutions of the
    last three stages without shortcuts (CSL with CLIP).
    """
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of its input that a low-rank change does not see in training. CSL with CLIP: 0.01."""
    lora_norm: Literal["running", "batch"] = "running"
    """Statistics that batch norms of a backbone with low-rank changes use in training: the "running" ones of the
    pretrained network, or those of the "batch", which the running ones then follow (CSL with CLIP).
    """
    draws: int = Field(default=1, ge=1)
    """Fixed draws of each random view that are cached when frozen. The first draw of the weak view is the plain
    view.
    """

    epochs: int = Field(default=15, ge=1)
    batch_size: int = Field(default=64, ge=1)
    """Images of a batch, in each process."""
    lr: float | None = Field(default=None, gt=0)
    """Highest learning rate; None: 1e-3 if frozen or from scratch, else 1e-4."""
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop", "rmsprop_tf"] = "adamw"
    """"rmsprop" is torch's; "rmsprop_tf" is that of TensorFlow, as IMCL has it: its mean of squares starts from 1, and
    epsilon is inside the root. With all but adamw, decay is added to the gradient.
    """
    weight_decay: float = Field(default=0.01, ge=0)
    decay_on: Literal["weights", "all"] = "weights"
    """What weight decay acts on: "weights" spares biases and norms, "all" spares none, as torch does and most published
    code with it.
    """
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD and RMSProp. IMCL's official code: 0.9."""
    rmsprop_decay: float = Field(default=0.9, ge=0, lt=1)
    """Decay of RMSProp's mean of squared gradients. IMCL's official code: 0.9."""
    epsilon: float = Field(default=1e-8, gt=0)
    """Added to the denominator by Adam and RMSProp. IMCL's official code: 1."""
    schedule: Literal["onecycle", "cosine", "step", "plateau", "constant"] = "onecycle"
    """How the learning rate changes. "step": times schedule_factor after each of step_epochs. "plateau": times
    schedule_factor when the held-out mAP has not risen above its best.
    """
    schedule_epochs: int | None = Field(default=None, ge=1)
    """Epochs that onecycle and cosine are laid out over; None: all. With more than `epochs` training stops inside the
    schedule (PU-MLC's official code: over 80 epochs, stopped after 41 on COCO).
    """
    warmup: float = Field(default=0.2, gt=0, lt=1)
    """Share of the steps in which OneCycle rises (CSL, PU-MLC, ASL: 0.2)."""
    cycle_momentum: bool = False
    """OneCycle moves momentum (Adam: beta1) against the learning rate, from 0.95 to 0.85 and back: torch's default,
    which the official codes of CSL and PU-MLC keep.
    """
    step_epochs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Numbers of epochs done after which "step" lowers the learning rate (IMCL on COCO: after 2)."""
    schedule_factor: float = Field(default=0.1, gt=0, lt=1)
    """What "step" and "plateau" multiply the learning rate by. IMCL: 0.8 for its plateau."""
    schedule_patience: int = Field(default=0, ge=0)
    """Looks at the held-out cells without a rise that "plateau" lets pass."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of the moving average of weights; 0: none. Published recipes: 0.9997 (CSL, ASL), without warm-up."""
    ema_warmup: bool = True
    """Let the decay rise as min(ema, (1 + n) / (10 + n)) over n steps, which reaches 0.9997 at step 29,990; false: the
    same decay from the first step, as published recipes have it.
    """
    clip_norm: float = Field(default=0.0, ge=0)
    """Largest gradient norm; 0: no clipping."""
    accumulate: int = Field(default=1, ge=1)
    """Batches whose gradients are added before a step."""
    amp: Literal["none", "bf16", "fp16"] = "none"
    """Mixed precision."""

    holdout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the known cells, or of the images with a known label, that training never sees: for model choice,
    thresholds, calibration.
    """
    holdout_by: Literal["auto", "cells", "images"] = "auto"
    """What is held out: known "cells", so that every image still trains, or whole "images" with their known cells.
    "auto": cells; images where no absent cell is known, since unknown cells then teach what is absent, held-out present
    ones among them.
    """
    select: Literal["last", "best"] = "last"
    """Which epoch's model to keep: the last, or the best on the held-out cells."""
    refit: bool = False
    """Afterwards train once more on all known cells, to the last epoch; thresholds and calibration stay as they
    were.
    """
    validate_every: int = Field(default=1, ge=1)
    """Epochs between looks at the held-out cells; the last epoch always looks."""

    flip: bool = True
    """Random views may mirror the image."""
    random_crop: Literal["area", "scales", "fixed"] = "area"
    """How random views are cut out: "area", a part of random area and shape; "scales", of the image resized to
    crop_from a square of one of crop_sides, resized to size (PU-MLC's official code); "fixed", a square of size (CLS).
    """
    crop_scale: float = Field(default=0.6, gt=0, le=1)
    """Smallest share of the image that "area" keeps; 1: no cropping."""
    crop_from: int | None = Field(default=None, ge=1)
    """Side in pixels that the whole image is resized to before "scales" or "fixed" cuts a square out; None: 8/7 of
    size, 512 for 448.
    """
    crop_sides: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Sides in pixels of which "scales" takes one; none: 8/7, 1, 6/7, 5/7 and 4/7 of size, at 448 the 512, 448, 384,
    320 and 256 of PU-MLC's official code.
    """
    seed: int = Field(default=0, ge=0, le=2**32 - 1)
    """Of first weights, held-out cells, order of images and random views."""
    max_image_mb: float = Field(default=1024, gt=0)
    """Most memory, in MB, that decoding one image may take; larger images are refused."""
    workers: int = Field(default=0, ge=0)
    """Processes that decode images."""
    accelerator: str = "auto"
    """As in Lightning, such as "cpu" or "gpu"."""
    devices: int | str = "auto"
    """As in Lightning: how many, or which, such as "0,2"."""
    strategy: str = "auto"
    """As in Lightning, such as "ddp"."""
    checkpoint_every: int = Field(default=0, ge=0)
    """Steps between checkpoints; 0: one each epoch."""
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Loggers besides log.csv, if they are installed."""

    @property
    def learning_rate(self) -> float:
        """The learning rate as used."""
        return self.lr if self.lr is not None else (1e-3 if self.freeze or not self.pretrained else 1e-4)


def make_settings(values: Mapping[str, Any], method_fields: Collection[str]) -> TrainSettings:
    """Settings from flat names: those that the method knows go to the method, the others to the loop.

    Args:
        values: setting name to value, as in a config file.
        method_fields: the names that the method's config has.

    Raises:
        UsageError: unknown name or unusable value; says which, and what is known.
    """
    own = {name: value for name, value in values.items() if name not in method_fields}
    nested = {name: value for name, value in values.items() if name in method_fields}
    given = own.get("method_settings", {})
    if not isinstance(given, Mapping):
        raise UsageError(f"setting method_settings: a table of the method's settings is needed, got {given!r}")
    try:
        settings = TrainSettings(**{**own, "method_settings": {**given, **nested}})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = sorted({*TrainSettings.model_fields, *method_fields})
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"no setting {name!r}; {meant}Settings are {', '.join(known)}") from error
        wrong = "a list such as [2, 4] is needed" if first["type"] == "tuple_type" else first["msg"].lower()
        raise UsageError(f"setting {name}: {wrong}, got {first['input']!r}") from error
    check_effects(settings)
    return settings


_NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "draws": ("freeze", (True,)),
    "maps_by": ("freeze", (True,)),
    "branch_scale": ("local_global", (True,)),
    "lora_alpha": ("lora_rank", ()),
    "lora_targets": ("lora_rank", ()),
    "lora_dropout": ("lora_rank", ()),
    "lora_norm": ("lora_rank", ()),
    "momentum": ("optimizer", ("sgd", "rmsprop", "rmsprop_tf")),
    "rmsprop_decay": ("optimizer", ("rmsprop", "rmsprop_tf")),
    "epsilon": ("optimizer", ("adamw", "adam", "rmsprop", "rmsprop_tf")),
    "decay_on": ("weight_decay", ()),
    "schedule_epochs": ("schedule", ("onecycle", "cosine")),
    "warmup": ("schedule", ("onecycle",)),
    "cycle_momentum": ("schedule", ("onecycle",)),
    "step_epochs": ("schedule", ("step",)),
    "schedule_factor": ("schedule", ("step", "plateau")),
    "schedule_patience": ("schedule", ("plateau",)),
    "ema_warmup": ("ema", ()),
    "holdout_by": ("holdout", ()),
    "crop_scale": ("random_crop", ("area",)),
    "crop_from": ("random_crop", ("scales", "fixed")),
    "crop_sides": ("random_crop", ("scales",)),
}
"""Settings that have an effect beside some values of another one alone; none named: beside any number above 0."""


def is_default(settings: TrainSettings, name: str) -> bool:
    """Whether a setting says nothing: files of settings may spell defaults out."""
    return bool(getattr(settings, name) == TrainSettings.model_fields[name].default)


def check_effects(settings: TrainSettings) -> None:
    """Whether every setting has an effect beside the others.

    Raises:
        UsageError: one has none; says which, and what to do.
    """
    for name, (other, values) in _NEEDS.items():
        value = getattr(settings, other)
        if (value not in values if values else not value) and not is_default(settings, name):
            wanted = f"to {' or '.join(map(repr, values))}" if values else "above 0"
            raise UsageError(f"{name} has no effect with {other} {value!r}; set {other} {wanted}, or leave {name} out")
    _check_schedule(settings)
    if settings.cycle_momentum and not is_default(settings, "momentum"):
        raise UsageError(
            "cycle_momentum moves the momentum from 0.95 to 0.85 and back, whatever momentum says; leave one of them "
            "out"
        )
    if settings.maps_by == "onnxruntime" and settings.train_last:
        raise UsageError(
            "maps_by 'onnxruntime' has no effect with train_last: torch computes a network that is cut before its last "
            "stages; leave one of them out"
        )
    lora_keeps = settings.lora_rank and settings.lora_norm == "running"
    if settings.frozen_norm is True and (lora_keeps or (settings.freeze and not settings.train_last)):
        other = "lora_rank" if lora_keeps else "freeze"
        raise UsageError(
            f"frozen_norm has no effect with {other}, which keeps the running statistics of the backbone; leave it "
            "out, or set it to 'all' for those of the head"
        )


_OF_A_FIT = frozenset(
    {
        "method",
        "method_settings",
        "backbone",
        "pretrained",
        "backbone_args",
        "size",
        "preprocessing",
        "freeze",
        "maps_by",
        "joint_space",
        "stages",
        "holdout",
        "holdout_by",
        "refit",
        "seed",
        "max_image_mb",
        "workers",
        "accelerator",
        "devices",
        "strategy",
    }
)
"""Settings with an effect on methods that are fitted, not stepped, and how several processes are started."""


def settings_of_fits() -> frozenset[str]:
    """Settings of a training that have an effect on a method that is fitted, without the method and its own."""
    return _OF_A_FIT - {"method", "method_settings"}


def of_steps_alone(names: Iterable[str]) -> list[str]:
    """Those of some names of settings that have no effect on a method that is fitted: it takes no steps."""
    return [name for name in names if name in TrainSettings.model_fields and name not in _OF_A_FIT]


def given_for_steps(settings: TrainSettings) -> list[str]:
    """The settings of `of_steps_alone` that say something other than their defaults."""
    return [name for name in of_steps_alone(TrainSettings.model_fields) if not is_default(settings, name)]


def defaults(names: Iterable[str]) -> dict[str, Any]:
    """What some settings are when nobody sets them."""
    return {name: TrainSettings.model_fields[name].default for name in names}


def _check_schedule(settings: TrainSettings) -> None:
    schedule, laid_out = settings.schedule, settings.schedule_epochs
    if laid_out is not None and laid_out < settings.epochs:
        raise UsageError(
            f"the schedule ends after {laid_out} epochs (schedule_epochs), before the {settings.epochs} of the "
            "training; raise it or lower epochs"
        )
    if schedule == "step" and not settings.step_epochs:
        raise UsageError("schedule 'step' needs step_epochs, such as [2]")
    if settings.step_epochs and max(settings.step_epochs) >= settings.epochs:
        raise UsageError(
            f"step_epochs {max(settings.step_epochs)} has no effect in a training of {settings.epochs} epochs; leave it"
            " out, or raise epochs"
        )
    if schedule == "plateau" and not settings.holdout:
        raise UsageError("schedule 'plateau' follows the held-out cells; set holdout above 0")
    if schedule == "plateau" and settings.refit:
        raise UsageError("schedule 'plateau' follows the held-out cells, which refit trains on; leave one of them out")
