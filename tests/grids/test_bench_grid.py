from collections.abc import Callable
from pathlib import Path

import pytest

from partlabel.errors import UsageError
from partlabel.grids.grid import Grid, read_grid, slug

Write = Callable[..., Path]


def test_grid_is_read_with_variables_filled_in(write_grid: Write, squares: Path) -> None:
    grid = read_grid(write_grid())
    assert grid.data["squares"].images == f"{squares}/images"  # type: ignore[union-attr]
    assert grid.maskings["half"].settings == {"ratio": 0.5}
    assert (grid.seeds, grid.measures, grid.keep_runs) == ((0, 1), ("mAP", "OF1", "CF1"), False)
    assert (grid.top, grid.curves) == (None, ())
    bce, saliency = grid.rows["bce"], grid.rows["saliency, no CR"]
    assert (bce.settings["method"], bce.rates) == ("bce", (0.001, 0.01))
    assert "lr" not in bce.settings
    assert (saliency.settings["method"], saliency.settings["lr"], saliency.rates) == ("saliency", 0.003, ())
    assert saliency.settings["epochs"] == 1


def test_settings_as_written_hold_no_value_of_a_variable(write_grid: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIGHTS", "/somewhere")
    row = read_grid(write_grid(('"test_resnet"', '"local-dir:${WEIGHTS}"'))).rows["bce"]
    assert row.settings["backbone"] == "local-dir:/somewhere"
    assert row.written["backbone"] == "local-dir:${WEIGHTS}"


def test_own_settings_of_a_method_go_before_common_ones(write_grid: Write) -> None:
    row = read_grid(write_grid(("lr = 0.003", "lr = 0.003\nepochs = 7"))).rows["saliency, no CR"]
    assert (row.settings["epochs"], row.written["epochs"]) == (7, 7)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[data.squares]", "[data.squares", "cannot be read: Expected"),
        ("seeds = [0, 1]", "", "grid.toml: seeds is missing"),
        ("seeds = [0, 1]", "seeds = []", "seeds is empty; list at least one"),
        ("seeds = [0, 1]", "seeds = [1, 1]", "seeds: a value is listed twice, got"),
        ("seeds = [0, 1]", "seeds = [-1]", "seeds.0: Input should be greater than or equal to 0, got -1"),
        ("seeds =", "top = 0\nseeds =", "top: Input should be greater than or equal to 1, got 0"),
        ("seeds =", "curves = ['ebc']\nseeds =", "curves: no row 'ebc'; rows are bce, saliency, no CR"),
        ("seeds =", "curves = ['bce', 'bce']\nseeds =", "curves: a value is listed twice"),
        ("title =", "tittle =", "no key 'tittle'; keys are title, seeds"),
        ("seeds =", 'measures = ["F2"]\nseeds =', "no measure 'F2'; measures are mAP"),
        ('train = "train.csv"', 'trian = "train.csv"', "data.squares.train is missing"),
        ("codes =", "code =", "no key 'code' in data.squares; keys are codes, unlisted, classes"),
        ("codes =", "min_present = -1\ncodes =", "data.squares.min_present: Input should be greater"),
        ("${SQUARES}", "${NO_SUCH_VARIABLE}", "data.squares.images needs the environment variable NO_SUCH_VARIABLE"),
        (
            "[data.squares]",
            '[data.made]\nbuiltin = "x"\n[data.squares]',
            "data.made.builtin: Input should be 'digit_scenes'",
        ),
        ("seeds = [0, 1]", "seeds = 0", "seeds must be a list: write it in brackets"),
        (
            "seeds = [0, 1]",
            "seeds = [0, 1]\noverride = { settings = {} }",
            "override must be a list: write [[override]]",
        ),
        ("[method.bce]", '[method."b\\nce"]\nmethod = "bce"', "method: 'b\\nce' has a line end or a control char"),
        ('name = "known_ratio"', "", "masking.half.name is missing"),
        ('name = "known_ratio"', 'name = "known_ration"', "masking.half: unknown masking 'known_ration'; did you mean"),
        ("ratio = 0.5", "", "masking.half: masking known_ratio needs a value for ratio"),
        ("ratio = 0.5", "ratio = 50", "masking.half: ratio is 50; it must be a number from 0 to 1"),
        ("ratio = 0.5", 'ratio = "half"', "masking.half: ratio is 'half'; it must be a number from 0 to 1"),
        ("ratio = 0.5", "ratio = 0.5\ncount = 3", "masking.half: masking known_ratio has no setting 'count'"),
        (
            "ratio = 0.5",
            "ratio = 0.5\nseed = 3",
            "masking.half: seed is no setting of a masking; seeds come from `seeds`",
        ),
        ("epochs = 1", "epoch = 1", "method.bce: no setting 'epoch'; did you mean epochs? Settings are"),
        ("epochs = 1", "epochs = 0", "method.bce: setting epochs: input should be greater than or equal to 1"),
        ("epochs = 1", "epochs = 1\nseed = 4", "method.bce: seed is no setting here; seeds come from `seeds`"),
        ("holdout = 0.3", "holdout = 0", "method.bce: a list of learning rates is searched on held-out cells"),
        ("lr = [0.001, 0.01]", "lr = []", "method.bce: lr is an empty list"),
        ("lr = [0.001, 0.01]", "lr = [0.001, 0.001]", "method.bce: lr lists a value twice"),
        ("lr = [0.001, 0.01]", "lr = [[0.001]]", "method.bce: setting lr: input should be a valid number"),
        ("lr = [0.001, 0.01]", "lr = [0.001, -1]", "method.bce: setting lr: input should be greater than 0"),
        ('pseudo = "none"', 'pseudo = "nothing"', "method.saliency, no CR: method saliency: pseudo: input should be"),
        (
            'method = "saliency"\npseudo = "none"',
            'method = "colearning"',
            'method.saliency, no CR: label_vectors = "auto" takes what lies in the local cache',
        ),
        (
            'method = "saliency"\n',
            "",
            "method.saliency, no CR: no method 'saliency, no CR'; closest: saliency; methods are",
        ),
        (
            "[method.bce]",
            '[method."BCE"]\nmethod = "bce"\n[method.bce]',
            "method: 'bce' and 'BCE' would share a folder",
        ),
        ("[method.bce]", '[method."?"]\nmethod = "bce"\n[method.bce]', "method: '?' has no letter or digit"),
    ],
)
def test_wrong_grids_name_the_key(write_grid: Write, old: str, new: str, sentence: str) -> None:
    path = write_grid((old, new))
    with pytest.raises(UsageError) as caught:
        read_grid(path)
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("common", "own"), [("holdout = 0.3", "holdout = 0.2"), ("holdout = 0", "")])
def test_top_wants_the_same_held_out_cells_for_all_rows(write_grid: Write, common: str, own: str) -> None:
    one = ("lr = [0.001, 0.01]", "lr = 0.01"), ("holdout = 0.3", common), ("lr = 0.003", f"lr = 0.003\n{own}")
    read_grid(write_grid(*one))
    with pytest.raises(
        UsageError, match="top compares the rows on the same held-out cells; give all of them one holdout"
    ):
        read_grid(write_grid(*one, ("seeds =", "top = 1\nseeds =")))


def test_at_most_eight_curves(bare_grid: Callable[..., Grid]) -> None:
    names = [f"row {number}" for number in range(9)]
    assert bare_grid(names, top=f"seeds = [0]\ncurves = {names[:8]}").curves == tuple(names[:8])
    with pytest.raises(UsageError, match="curves lists more than 8"):
        bare_grid(names, top=f"seeds = [0]\ncurves = {names}")


def test_missing_grid(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read_grid(tmp_path / "none.toml")


def test_slug_cannot_leave_the_folder() -> None:
    assert slug("../../Known 10 %, r=0.5") == "known-10-r-0.5"
    assert slug("..") == ""


def test_rows_that_need_no_label_vectors_need_not_name_any(write_grid: Write) -> None:
    for row in ("sgfe = false\nsrfl = false", 'label_vectors = "learned"'):
        assert read_grid(write_grid(('method = "saliency"\npseudo = "none"', f'method = "colearning"\n{row}')))
