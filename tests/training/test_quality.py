"""`--quality best` fills in what is not asked for."""

from painters_mtl.training.quality import BEST, with_quality
from painters_mtl.training.settings import TrainSettings


def test_the_best_quality_fills_in_what_the_command_line_leaves_open() -> None:
    settings = with_quality(TrainSettings(quality="best", color=0.1), named=frozenset({"image_size"}))
    assert settings.image_size == 96 and settings.color == 0.1  # asked for, though one of them is the default
    assert {name: getattr(settings, name) for name in ("fine_tune", "mix", "backbone_rate")} == {
        name: BEST[name] for name in ("fine_tune", "mix", "backbone_rate")
    }
    assert with_quality(settings, frozenset({"image_size"})) == settings
    assert with_quality(TrainSettings()) == TrainSettings()
    resumed = TrainSettings(quality="best", resume=True, name="run")  # its config.json holds the rest
    assert with_quality(resumed) == resumed
    heads = with_quality(TrainSettings(quality="best", views=("whole", "detail")))
    assert heads.mix == 0 and heads.fine_tune == "all"  # two views are not mixed
    own = with_quality(TrainSettings(quality="best", tasks=("style", "school")))
    assert own.task_weights == {"style": 1.5}
