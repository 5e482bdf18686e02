"""From trained models: their weights arrive layer by layer, their answers are learned, and mismatches are named."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import arguments, fitted, make_data, same_weights, small_network, tiny_settings, trained
from made_results import collection

from painters_mtl import compare
from painters_mtl.common.errors import UserError
from painters_mtl.data.dataset import prepare
from painters_mtl.data.split_file import save_split
from painters_mtl.data.tasks import TASK_NAMES, Task
from painters_mtl.evaluation.calibration import apply_temperature
from painters_mtl.network.forward import whole_crops
from painters_mtl.runs import run
from painters_mtl.training import fit as training
from painters_mtl.training import transfer
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.transfer import mean_of_heads, runs_by_task, soft_targets, warm_start

TASKS = {name: Task(name, tuple("abc")) for name in TASK_NAMES}


def network(tasks: dict[str, Task], seed: int, width: int = 4) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return small_network(tasks, shared_layers=(6,), task_layers=(width,), fine_tune="all")


def save_run(folder: Path, model: keras.Model, tasks: dict[str, Task]) -> Path:
    folder.mkdir()
    run.save_model(model, folder)
    run.save_labels(folder, tasks, 32, 40, False)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of three networks, each with one head; their weights are random."""
    place = tmp_path_factory.mktemp("alone")
    return [
        save_run(place / name, network({name: task}, seed), {name: task})
        for seed, (name, task) in enumerate(TASKS.items())
    ]


@pytest.mark.parametrize("shared", ["mean", "style", "imagenet"])
def test_heads_and_shared_part_are_taken_over_by_name(alone: list[Path], shared: str) -> None:
    beside = {"all_painters": Task("all_painters", tuple("abcdef"))}
    model = network(TASKS | beside, 9)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    warm_start(model, alone, TASKS, shared)
    sources = {folder.name: run.open_run(folder).model() for folder in alone}
    for layer in (layer for layer in model.layers if layer.weights):
        if layer.name.startswith(tuple(beside)):
            wanted = before[layer.name]
        elif (owner := layer.name.split("_")[0]) in TASKS:
            wanted = sources[owner].get_layer(layer.name).get_weights()
        elif shared == "imagenet":
            wanted = before[layer.name]
        else:
            its = [sources[t].get_layer(layer.name).get_weights() for t in (TASKS if shared == "mean" else [shared])]
            wanted = [sum(parts) / len(parts) for parts in zip(*its, strict=True)]
        for mine, its_weights in zip(layer.get_weights(), wanted, strict=True):
            np.testing.assert_allclose(mine, its_weights, rtol=1e-6, atol=1e-7, err_msg=layer.name)


def test_a_head_that_sees_finer_levels_is_taken_as_it_was_before(tmp_path: Path) -> None:
    folders, before = [], {}
    for seed, (name, task) in enumerate(TASKS.items()):
        keras.utils.set_random_seed(seed)
        folders.append(save_run(tmp_path / name, small_network({name: task}, multi_scale=True), {name: task}))
        narrow = small_network({name: task})
        before[name] = narrow.get_layer(name).get_weights()
        run.save_heads(narrow, [name], folders[-1])
    model = small_network(TASKS)
    warm_start(model, folders, TASKS, "painter")
    for name, weights in before.items():
        for mine, its in zip(model.get_layer(name).get_weights(), weights, strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-6)
    (folders[0] / run.HEADS).unlink()
    with pytest.raises(UserError, match=f"{run.HEADS} is missing or damaged: get a sound copy"):
        warm_start(model, folders, TASKS, "painter")


def test_of_several_heads_that_see_finer_levels_it_has_the_mean_of_those_before(tmp_path: Path) -> None:
    folders, before = [], []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        folders.append(save_run(tmp_path / str(seed), small_network(TASKS, multi_scale=True), TASKS))
        before.append(small_network(TASKS))
        run.save_heads(before[-1], TASKS, folders[-1])
    model = small_network(TASKS)
    warm_start(model, folders, TASKS, "mean")
    for name in TASKS:
        for mine, *its in zip(*(m.get_layer(name).get_weights() for m in (model, *before)), strict=True):
            np.testing.assert_allclose(mine, sum(its) / 2, rtol=1e-6, atol=1e-8)


def test_the_mean_of_equal_weights_is_those_weights(alone: list[Path], tmp_path: Path) -> None:
    source = run.open_run(alone[0]).model()
    folders = []
    for name, task in TASKS.items():
        model = network({name: task}, 5)
        model.get_layer("small_convnet").set_weights(source.get_layer("small_convnet").get_weights())
        folders.append(save_run(tmp_path / name, model, {name: task}))
    joint = network(TASKS, 9)
    warm_start(joint, folders, TASKS, "mean")
    pairs = zip(*(m.get_layer("small_convnet").get_weights() for m in (joint, source)), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_from_one_network_it_says_what_that_network_says(alone: list[Path]) -> None:
    model = network(TASKS, 9)
    warm_start(model, alone, TASKS, "style")
    pictures = np.random.default_rng(0).uniform(0, 255, (5, 32, 32, 3)).astype(np.float32)
    source = run.open_run(alone[1]).model()
    np.testing.assert_allclose(model(pictures)["style"], source(pictures)["style"], atol=1e-6)


@pytest.mark.parametrize("shared", ["mean", "style", "imagenet"])
def test_from_several_networks_of_a_task_it_has_their_mean(alone: list[Path], tmp_path: Path, shared: str) -> None:
    """Two networks with all heads, and a third with the style alone."""
    joint = [save_run(tmp_path / str(seed), network(TASKS, seed), TASKS) for seed in (7, 8)]
    model = network(TASKS, 9)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    warm_start(model, [*joint, alone[1]], TASKS, shared)
    seven, eight, style = (run.open_run(folder).model() for folder in (*joint, alone[1]))
    of_shared = {"mean": [seven, eight, seven, eight, style, seven, eight], "style": [seven, eight, style]}
    for layer in (layer for layer in model.layers if layer.weights):
        owner = layer.name.split("_")[0]
        if owner in TASKS:
            sources = [seven, eight, style] if owner == "style" else [seven, eight]
        elif shared == "imagenet":
            assert all(np.array_equal(a, b) for a, b in zip(layer.get_weights(), before[layer.name], strict=True))
            continue
        else:
            sources = of_shared[shared]
        arrays = zip(*(source.get_layer(layer.name).get_weights() for source in sources), strict=True)
        for mine, several in zip(layer.get_weights(), arrays, strict=True):
            np.testing.assert_allclose(mine, sum(several) / len(several), rtol=1e-5, atol=1e-7, err_msg=layer.name)


def test_every_layer_that_does_not_fit_is_named_and_nothing_is_changed(alone: list[Path]) -> None:
    model = network(TASKS, 9, width=5)
    before = model.get_weights()
    with pytest.raises(UserError) as error:
        warm_start(model, alone, TASKS, "mean")
    for name, folder in zip(TASKS, alone, strict=True):
        assert f"{folder}: {name}_0/kernel is (6, 4), wanted (6, 5)" in str(error.value)
        assert f"{folder}: {name}/kernel is (4, 3), wanted (5, 3)" in str(error.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    keras.utils.set_random_seed(0)
    deeper = small_network(TASKS, shared_layers=(6, 6), task_layers=(4,), fine_tune="all")
    with pytest.raises(UserError, match="there is no layer shared_1"):
        warm_start(deeper, alone, TASKS, "mean")


def test_the_mean_of_the_heads_that_runs_ended_with(tmp_path: Path) -> None:
    """A head that reads pyramid maps beside the last one counts as it ended, where the heads here read them too."""
    two = {name: TASKS[name] for name in ("style", "genre")}
    folders, models = [], []
    for seed, tasks in enumerate((two, two, {"genre": TASKS["genre"]})):
        keras.utils.set_random_seed(seed)
        models.append(small_network(tasks, multi_scale=True))
        folders.append(save_run(tmp_path / str(seed), models[-1], tasks))
    found = mean_of_heads(folders, two)
    assert set(found) == set(two)
    for task, having in (("style", models[:2]), ("genre", models)):
        for k, array in enumerate(found[task]):
            wanted = sum(model.get_layer(task).get_weights()[k] for model in having) / len(having)
            np.testing.assert_allclose(array, wanted, rtol=1e-5, atol=1e-7)
    narrow = save_run(tmp_path / "narrow", small_network(two), two)  # its heads read the last map alone
    assert mean_of_heads([*folders, narrow], two) == {} == mean_of_heads((), two)


def test_of_several_networks_that_of_another_form_is_named_once(tmp_path: Path) -> None:
    folders = [
        save_run(
            tmp_path / name, small_network(TASKS, shared_layers=(width,), task_layers=(4,), fine_tune="all"), TASKS
        )
        for name, width in (("fits", 6), ("wider", 7))
    ]
    with pytest.raises(UserError) as error:
        warm_start(network(TASKS, 9), folders, TASKS, "mean")
    assert str(error.value).count(f"{folders[1]}: shared_0/kernel is (64, 7), wanted (64, 6)") == 1
    assert str(folders[0]) not in str(error.value)


def test_what_cannot_be_started_from_is_said(alone: list[Path]) -> None:
    with pytest.raises(UserError, match="no network for the genre"):
        warm_start(network(TASKS, 9), alone[:2], TASKS, "mean")
    with pytest.raises(UserError, match="--start-shared painters is unknown: mean, imagenet, painter, style, genre"):
        warm_start(network(TASKS, 9), alone, TASKS, "painters")
    with pytest.raises(UserError, match="style classes are not those of this data \\(such as 'c'\\)"):
        runs_by_task([alone[1]], {"style": Task("style", ("a", "b"))}, "teachers")
    with pytest.raises(UserError, match="knows style, and nothing of painter: leave it out"):
        runs_by_task([alone[0], alone[1]], {"painter": TASKS["painter"]}, "teachers")
    with pytest.raises(UserError, match="in another order"):
        runs_by_task([alone[1]], {"style": Task("style", tuple("acb"))}, "teachers")


# ------------------------------------------------------------------------------------------------- teachers


def test_soft_answers_are_the_softmax_of_the_divided_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 4)) * 3
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for temperature in (1.0, 2.0, 5.0):
        e = np.exp(logits / temperature)
        np.testing.assert_allclose(apply_temperature(p, temperature), e / e.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_teacher_answers_for_paintings_and_their_mirror_images(alone: list[Path], tmp_path: Path) -> None:
    """Also one that sees the whole painting alone, where the cached images hold a detail too, or are larger."""
    small = make_data(tmp_path / "data", count=40)
    model = run.open_run(alone[1]).model()
    for views, image_size in ((("whole",), 32), (("whole", "detail"), 32), (("whole",), 64)):
        data = prepare(tiny_settings(small, tmp_path, views=views, image_size=image_size))
        copies = data.images.pixels[data.image_rows[data.rows("train")]]
        whole = np.asarray(copies[:, 0] if len(views) > 1 else copies)
        wanted = [model(whole_crops(view, 32))["style"] for view in (whole, whole[:, :, ::-1])]
        (found,) = soft_targets(data, (alone[1],), TASKS).values()
        np.testing.assert_allclose(found, np.mean(wanted, axis=0), rtol=1e-4, atol=1e-6)


def test_of_several_teachers_of_a_task_the_mean_counts(alone: list[Path], tmp_path: Path) -> None:
    data = prepare(tiny_settings(make_data(tmp_path / "data", count=40), tmp_path))
    two = {name: TASKS[name] for name in ("style", "genre")}
    other = save_run(tmp_path / "other", network(two, 7), two)
    one, another = (soft_targets(data, (folder,), TASKS) for folder in (alone[1], other))
    both = soft_targets(data, (alone[1], other), TASKS)
    assert set(both) == {"style", "genre"}
    np.testing.assert_allclose(both["style"], (one["style"] + another["style"]) / 2, atol=1e-7)
    np.testing.assert_array_equal(both["genre"], another["genre"])


# ------------------------------------------------------------------------------------------------- whole trainings


@pytest.mark.slow
def test_started_from_its_own_baselines_it_knows_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Heads of three networks on the backbone of one: after a step of no size, that task is as good as alone."""
    folder, settings = trained(tmp_path_factory)
    sources = tuple(folder / "baselines" / name for name in TASK_NAMES)
    again = dataclasses.replace(
        settings, name="started", start_from=sources, start_shared="genre", epochs=1, learning_rate=1e-30
    )
    _, outcome, _ = fitted(again)
    alone = run.open_run(sources[2]).model().get_layer("genre").get_weights()
    mine = run.open_run(settings.models / "started").model().get_layer("genre").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(alone, mine, strict=True))
    assert outcome.metrics["test"]["genre"]["accuracy"] > 0.9


@pytest.mark.slow
def test_what_is_frozen_stands_still_for_so_many_epochs(tmp_path: Path) -> None:
    data = make_data(tmp_path / "data", count=80)
    for part, moves in (("backbone", "style"), ("heads", "small_convnet")):
        settings = tiny_settings(data, tmp_path, name=part, freeze=part, epochs=1, other_painters=0.0)
        keras.utils.set_random_seed(settings.seed)
        prepared, _, folder = fitted(settings)
        keras.utils.set_random_seed(settings.seed)
        before = small_network(prepared.tasks, fine_tune="all", dropout=0)
        after = run.open_run(folder).model()
        for layer in ("style", "small_convnet"):
            pairs = zip(
                before.get_layer(layer).trainable_weights, after.get_layer(layer).trainable_weights, strict=True
            )
            assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs) == (layer != moves), (part, layer)
    again = dataclasses.replace(settings, name="later", freeze_epochs=1, epochs=2)
    _, _, later = fitted(again)
    assert not np.array_equal(
        run.open_run(later).model().get_layer("style").get_weights()[0], before.get_layer("style").get_weights()[0]
    )
    # What stands still is a matter of the shared network only.
    assert training.fit_single_task(prepared, again, tmp_path / "alone", "style", 0).metrics["epochs"] == 2


@pytest.mark.slow
def test_a_teacher_fills_in_what_has_no_label(tmp_path: Path) -> None:
    """No training painting has a genre; with a teacher of the genre the network learns it all the same."""
    settings = tiny_settings(make_data(tmp_path / "data", count=500), tmp_path)
    data = prepare(settings)
    training.fit_single_task(data, settings, tmp_path / "teacher", "genre", 0)
    genre = data.labels["genre"].copy()
    genre[data.rows("train")] = -1
    training_data = dataclasses.replace(data, labels=data.labels | {"genre": genre})
    accuracies = []
    for teachers in ((), (tmp_path / "teacher",)):
        changed = dataclasses.replace(settings, models=tmp_path, name=f"taught{len(teachers)}", teachers=teachers)
        outcome = training.fit(training_data, changed, tmp_path / changed.name)
        accuracies.append(outcome.metrics["test"]["genre"]["accuracy"])
    assert accuracies[1] > 0.9 > accuracies[0] + 0.1


def test_layers_that_keras_numbers_fit_by_their_places() -> None:
    """EfficientNetB0 and others leave names to Keras, which counts on: the second network has dense_1 for dense."""

    def built(width: int) -> keras.Model:
        x = keras.Input((4,))
        inner = keras.Model(x, keras.layers.Dense(width)(keras.layers.Dense(3)(x)), name="backbone")
        image = keras.Input((4,))
        return keras.Model(image, {"task": inner(image)})

    one, other, wider = built(2), built(2), built(5)
    its_run = run.Run(Path(), {}, 32, 40, False, {})
    layer = one.get_layer("backbone")
    assert layer.weights[0].path != other.get_layer("backbone").weights[0].path
    weights, problem = transfer._weights_for(layer, its_run, other)
    assert problem == "" and same_weights(weights, other.get_layer("backbone").get_weights())
    assert "(3, 5), wanted (3, 2)" in transfer._weights_for(layer, its_run, wider)[1]


# ------------------------------------------------------------------------------------------------- before it begins


@pytest.mark.slow
def test_a_teacher_that_has_seen_the_test_paintings_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, settings = trained(tmp_path_factory)
    for option in ("teachers", "start_from"):
        changed = dataclasses.replace(settings, name="other", seed=1, **{option: (folder / "baselines" / "style",)})
        with pytest.raises(UserError, match=r"was trained on \d+ paintings that are for validation or test here"):
            fitted(changed)
    assert not (settings.models / "other").exists()


@pytest.mark.parametrize("prefix", ["", "style:"])
def test_a_run_that_saw_the_test_paintings_is_found_by_folder_or_weights_file(prefix: str, tmp_path: Path) -> None:
    data = collection({"style": ("North", "South")}, n=20)
    source = tmp_path / "earlier"
    source.mkdir()
    save_split(source / "split.csv", data.table, np.array(["train"] * 4 + ["test"] * 16, object))
    here = dataclasses.replace(data, table=data.table.assign(id=prefix + data.table["id"]))
    transfer.check_test_paintings_unseen(here, [tmp_path / "weights.h5", tmp_path], "weights")  # of no run
    (source / "weights.npz").touch()
    for seen in (source, source / "weights.npz"):
        with pytest.raises(UserError, match=f"--weights {seen} was trained on 2 paintings") as error:  # every second
            transfer.check_test_paintings_unseen(here, [seen], "weights")
        assert f"--split {source / 'split.csv'}" in str(error.value)
    others = dataclasses.replace(here, table=here.table.assign(painter="another"))
    save_split(source / "split.csv", data.table.assign(painter="one"), np.array(["train"] * 20, object))
    transfer.check_test_paintings_unseen(others, [source], "weights")  # files of the same names, by others
    for other in ("0" * 32, "ONE", ""):  # a hash, another spelling, nothing: nobody says that it is another painting
        renamed = dataclasses.replace(here, table=here.table.assign(painter=other))
        with pytest.raises(UserError, match="was trained on 10 paintings"):
            transfer.check_test_paintings_unseen(renamed, [source], "weights")
    with pytest.raises(UserError, match="was trained on 10 paintings"):
        transfer.check_test_paintings_unseen(
            dataclasses.replace(here, table=here.table.assign(painter="one")), [source], "weights"
        )
    save_split(source / "split.csv", data.table, np.array(["train"] * 4 + ["test"] * 16, object))
    data.split[:4] = "train"
    transfer.check_test_paintings_unseen(here, [source], "weights")


@pytest.mark.slow
def test_weights_of_a_run_that_saw_the_test_paintings_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, settings = trained(tmp_path_factory)
    weights = str(folder / "weights.npz")
    with pytest.raises(UserError, match=r"--weights .*weights\.npz was trained on \d+ paintings that are for"):
        fitted(dataclasses.replace(settings, name="other", seed=1, weights=weights))
    command = [*arguments(settings), "--name", "folds", "--folds", "2", "--weights", weights]
    assert compare.main(command) == 2


def test_another_start_takes_the_place_of_the_teachers_mean() -> None:
    settings = TrainSettings(distill=True)
    assert settings.starts_from_teachers()
    assert not dataclasses.replace(settings, start_from=(Path("models/older"),)).starts_from_teachers()
