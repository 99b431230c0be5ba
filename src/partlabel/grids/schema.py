"""What a grid file may hold, each part checked by itself; `partlabel.grids.grid` checks how the parts fit together."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator

from partlabel.formats import ReadOptions
from partlabel.grids.measures import MEASURES


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabelFiles(ReadOptions):
    """Data in label files, or in published data sets (`NAME:DIR,option=value`), which bring their image folder. The
    options of reading hold for both, and `where_train` and `where_test` add to `where`.
    """

    train: str
    test: str
    images: str | None = None
    where_train: dict[str, str] = Field(default={})
    where_test: dict[str, str] = Field(default={})
    min_present: int = Field(default=0, ge=0)


class DigitScenes(_Strict):
    """Built-in data; see `partlabel.datasets.digit_scenes.write_scenes`."""

    builtin: Literal["digit_scenes"]
    train: int = Field(default=2000, ge=1)
    test: int = Field(default=1000, ge=1)
    size: int = Field(default=64, ge=32)
    seed: int = Field(default=0, ge=0)
    min_present: int = Field(default=0, ge=0)


class Masking(BaseModel):
    """A masking by name; whatever else is said goes to it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the masking."""
        return dict(self.model_extra or {})


class OverrideEntry(_Strict):
    """Settings of the cells of some data sets, maskings and rows; all where nothing is named."""

    data: tuple[str, ...] = ()
    masking: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    settings: dict[str, Any]

    @field_validator("data", "masking", "method", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class Recognised(_Strict):
    """Which labels of a few test images each row recognises: those among the image's `top` highest predictions."""

    images: int = Field(ge=1)
    top: int = Field(ge=1)


class PublishedTable(_Strict):
    """A table of a paper that ours stand beside; see `partlabel.grids.published`."""

    file: str
    table: str
    rows: dict[str, str] = {}
    data: dict[str, str] = {}


def _kind(value: Any) -> str:
    return "builtin" if isinstance(value, dict) and "builtin" in value else "files"


Data = Annotated[
    Annotated[LabelFiles, Tag("files")] | Annotated[DigitScenes, Tag("builtin")],
    Discriminator(_kind),
]


class GridFile(_Strict):
    """The file as a whole; `partlabel.grids.grid` shows one."""

    title: str = "Results"
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    measures: tuple[str, ...] = Field(default=("mAP", "OF1", "CF1"), min_length=1)
    top: int | None = Field(default=None, ge=1)
    curves: tuple[str, ...] = Field(default=(), max_length=8)
    keep_runs: bool = False
    baseline: str | None = None
    log_truth: bool = False
    log_test: bool = False
    recognised: Recognised | None = None
    data: dict[str, Data] = Field(min_length=1)
    masking: dict[str, Masking] = Field(min_length=1)
    settings: dict[str, Any] = {}
    start: dict[str, dict[str, Any]] = {}
    method: dict[str, dict[str, Any]] = Field(min_length=1)
    override: tuple[OverrideEntry, ...] = ()
    published: PublishedTable | None = None

    @field_validator("seeds", "measures", "curves")
    @classmethod
    def _different(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) < len(values):
            raise ValueError("a value is listed twice")
        return values

    @field_validator("measures")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in MEASURES:
                raise ValueError(f"no measure {name!r}; measures are {', '.join(MEASURES)}")
        return names
