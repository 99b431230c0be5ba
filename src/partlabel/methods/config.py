"""Settings of methods: what all have in common, and those of the heads that several of them can wear."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from partlabel.models.encoders.base import Pool
from partlabel.models.heads.base import HeadSpec
from partlabel.models.heads.pooled import Transform, pooled_spec


class MethodConfig(BaseModel):
    """Settings of a method. Every default says where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class MLDecoderHeadConfig(MethodConfig):
    """Settings of the head "ml_decoder"; defaults: official code of ML-Decoder, and its paper."""

    groups: int = Field(default=100, ge=1)
    """Most queries; classes share them where there are more. Official code: 100, 200 for the 9,605 classes of Open
    Images.
    """
    width: int = Field(default=768, ge=1)
    """Channels of memory and queries. Official code: 768."""
    heads: int = Field(default=8, ge=1)
    """Attention heads; they must divide the width. Official code: 8."""
    feed_forward: int = Field(default=2048, ge=1)
    """Width of the feed-forward part. Official code: 2048."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share dropped. Official code: 0.1."""
    queries: Literal["fixed", "learned"] = "fixed"
    """Queries stay as they are drawn, or are learned. Official code: fixed."""


class Query2LabelHeadConfig(MethodConfig):
    """Settings of the head "query2label"; defaults: official code of Query2Label."""

    reduction: int | None = Field(default=None, ge=1)
    """Channels that places are first brought to. Official code: none, so 2048 on a ResNet-101; 256 suits a laptop."""
    heads: int = Field(default=4, ge=1)
    """Attention heads; they must divide the channels. Official code: 4."""
    feed_forward: int = Field(default=8192, ge=1)
    """Width of the feed-forward parts. Official code: 8192, four times the 2048 channels of its maps."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share dropped. Official code: 0.1."""
    encoder_layers: int = Field(default=1, ge=0)
    """Layers in which places see each other. Paper and official code: 1."""
    decoder_layers: int = Field(default=2, ge=1)
    """Layers in which the queries of classes look at places. Paper and official code: 2."""


QUERY_HEADS: Mapping[str, type[MethodConfig]] = {
    "ml_decoder": MLDecoderHeadConfig,
    "query2label": Query2LabelHeadConfig,
}
"""Heads that a method can wear in place of its own, with their settings."""


class HeadConfig(MethodConfig):
    """Settings of every method whose loss takes logits of whatever head."""

    head: Literal["pooled", "ml_decoder", "query2label"] = "pooled"
    """What turns maps into logits: pooling and a linear layer, or a head that asks the map one question for each class
    or group of classes, with the settings in head_settings. The papers of the losses have a linear layer.
    """
    head_settings: MLDecoderHeadConfig | Query2LabelHeadConfig | None = None
    """Settings of the head "ml_decoder" or "query2label" by name, such as {"heads": 2}: those of the method of that
    name which are not of its loss. None: their defaults.
    """

    @model_validator(mode="before")
    @classmethod
    def _read_head_settings(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or not isinstance(given.get("head_settings"), Mapping):
            return given
        kind = QUERY_HEADS.get(str(given.get("head", cls.model_fields["head"].default)))
        return given if kind is None else {**given, "head_settings": _checked(kind, given["head_settings"])}

    @model_validator(mode="after")
    def _check_head(self) -> Self:
        kind = QUERY_HEADS.get(self.head)
        if kind is None and self.head_settings is not None:
            raise ValueError(f"head_settings counts only with head {' or '.join(map(repr, QUERY_HEADS))}; leave it out")
        if kind is not None and not isinstance(self.head_settings, kind | None):
            raise ValueError(f"head_settings are not those of head {self.head!r}; give them by name")
        if kind is not None:
            self._check_own_head()
        return self

    def _check_own_head(self) -> None:
        """Refuse settings of the method's own head, where another takes its place."""

    @property
    def worn(self) -> HeadSpec | None:
        """The head in place of the method's own; None if it keeps that."""
        kind = QUERY_HEADS.get(self.head)
        return None if kind is None else HeadSpec(kind=self.head, settings=(self.head_settings or kind()).model_dump())


def _checked(kind: type[MethodConfig], given: Mapping[str, Any]) -> MethodConfig:
    """Settings of a head, or a ValueError of one line that says what is wrong with one of them."""
    try:
        return kind.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            raise ValueError(f"head_settings: the head has no setting {name!r}; its settings are {known}") from None
        raise ValueError(f"head_settings: {name}: {first['msg'].lower()}, got {first['input']!r}") from None


class PoolConfig(MethodConfig):
    """Settings of every method whose head begins with pooling."""

    pool: Pool = "avg"
    """Pooling of the head ("avg" or "max"). The papers use average pooling."""


class PooledConfig(PoolConfig, HeadConfig):
    """Settings of every method with the default head, or one that takes its place."""

    def _check_own_head(self) -> None:
        for name in ("pool", "transform"):
            field = type(self).model_fields.get(name)
            if field is not None and getattr(self, name) != field.default:
                raise ValueError(f"{name} counts only with head 'pooled'; leave it out")

    @property
    def spec(self) -> HeadSpec:
        """The head that the settings name."""
        return self.worn or pooled_spec(self.pool, "none")


class LinearConfig(PooledConfig):
    """Settings of methods with a linear layer on pooled features, which may be transformed."""

    transform: Transform = "none"
    """What becomes of pooled features before the linear layer: "none", or their "sqrt" (with the sign of the feature).
    Ours.
    """

    @property
    def spec(self) -> HeadSpec:
        """The head that the settings name."""
        return self.worn or pooled_spec(self.pool, self.transform)
