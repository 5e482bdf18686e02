"""One step of training: a batch in, the weights moved as the strategy says."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from painters_mtl.network.graph import TRUNK, layer_owners, named_tensors
from painters_mtl.training.devices import Devices
from painters_mtl.training.settings import TrainSettings
from painters_mtl.training.strategies import STRATEGIES, AdamW, GradientMethod

WARM_UP = 0.08  # share of the steps in which the learning rate rises
Batch = tuple[tf.Tensor, dict[str, tf.Tensor], dict[str, tf.Tensor], tf.Tensor, tf.Tensor]
Totals = tuple[dict[str, tf.Tensor], int]  # of a batch: the sum of each head's label weights, and the paintings


@dataclass(frozen=True)
class Parts:
    """The trainable weights of a network: those that more than one task uses, and those of each head's branch."""

    shared: list[keras.Variable]
    own: dict[str, list[keras.Variable]]


def parts_of(network: keras.Model, groups: Mapping[str, Sequence[str]]) -> Parts:
    """Sort the trainable weights of a network by who uses them.

    Args:
        groups: {task: names of its heads}. What the heads of one task share, and nobody else, is that task's.
    """
    owners = layer_owners(network, groups)
    heads = {id(variable): owners[layer.name] for layer in network.layers for variable in layer.trainable_variables}
    parts = Parts([], {name: [] for name in network.output})
    for variable in network.trainable_variables:
        head = heads[id(variable)]
        (parts.own[head] if head else parts.shared).append(variable)
    return parts


class SmoothedCrossentropy:
    """Categorical cross-entropy of int labels (n,), with label smoothing (Szegedy et al. 2016, arXiv 1512.00567).

    The mean is over the labelled rows, 0 where there are none. Not a Keras loss: those divide by the number of devices.
    """

    def __init__(self, smoothing: float) -> None:
        self.smoothing = smoothing

    def __call__(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None) -> tf.Tensor:
        """A float32 scalar; `sample_weight` is float32 (n,), 1 or 0, by default 1."""
        classes = y_pred.shape[-1]
        labels = tf.one_hot(tf.cast(y_true, tf.int32), classes, on_value=1 - self.smoothing) + self.smoothing / classes
        rows = keras.losses.categorical_crossentropy(labels, y_pred)
        weights = tf.ones_like(rows) if sample_weight is None else tf.cast(sample_weight, rows.dtype)
        return tf.math.divide_no_nan(tf.reduce_sum(weights * rows), tf.reduce_sum(weights))


def schedule(settings: TrainSettings, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate rises for 8 % of the steps and then falls by half a cosine to 0."""
    warm = max(1, round(WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm), warmup_target=settings.learning_rate, warmup_steps=warm
    )


def optimizer(variables: Sequence[keras.Variable], slow: set[int], settings: TrainSettings) -> AdamW:
    """A pretrained backbone, whose variables have the ids `slow`, learns at a part of the heads' rate.

    At their rate, what ImageNet taught it is lost in the first hundred steps of a short training. Weight decay, which
    would pull it to zero, is for the kernels of the new layers only.
    """
    rates = [settings.backbone_rate if id(v) in slow else 1.0 for v in variables]
    fixed = [id(v) in slow or v.name in ("bias", "gamma", "beta") for v in variables]
    return AdamW(variables, rates, [0.0 if f else settings.weight_decay for f in fixed])


class LossScale:
    """What losses are multiplied by so that 16-bit gradients do not vanish (Micikevicius 2018, arXiv 1710.03740).

    It is halved where a gradient overflows, and doubled after 2,000 steps without. Only float16 needs it.
    """

    START, PATIENCE = 2.0**15, 2000

    def __init__(self) -> None:
        self.scale = tf.Variable(self.START, trainable=False)
        self.sound = tf.Variable(0, trainable=False)

    def undo(self, gradients: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Gradients of the losses themselves, and whether all are finite: 1.0, or 0.0, and then they are 0."""
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
        unscaled = [tf.where(finite, g / self.scale, tf.zeros_like(g)) for g in gradients]
        double = self.sound >= self.PATIENCE - 1
        grown = tf.where(double, 2.0 * self.scale, self.scale)
        self.scale.assign(tf.where(finite, grown, tf.maximum(self.scale / 2, 1.0)))
        self.sound.assign(tf.where(finite & ~double, self.sound + 1, 0))
        return unscaled, tf.cast(finite, tf.float32)


class TrainStep:
    """Losses, gradients and optimizers of one training; `step` is for the graph.

    With the strategy `alternate` each task has an optimizer of its own, over the shared weights and its branch; else
    the shared weights have one, and each head's branch another: a branch without a label in the batch stands still.
    """

    def __init__(
        self,
        network: keras.Model,
        groups: Mapping[str, Sequence[str]],
        loss_weights: Mapping[str, float],
        slow: Sequence[keras.Variable],
        settings: TrainSettings,
        steps: int,
        soft: Mapping[str, np.ndarray] | None = None,
        float16: bool = False,
        devices: Devices | None = None,
    ) -> None:
        """Args:
        groups: {task: names of its heads}; the strategy sees the sum of a task's losses as one.
        loss_weights: for each head.
        slow: the weights of a pretrained backbone.
        steps: of the whole training.
        soft: the teachers' answers, softened, {head: float32 (training paintings, classes)}.
        float16: whether the network computes in float16, and its losses are scaled.
        devices: those that train together; to each, `step` is given the images of its process and the rest of the batch
            as a whole.
        """
        self.heads, self.groups, self.loss_weights = list(network.output), groups, loss_weights
        self.parts = parts_of(network, groups)
        # TensorFlow's own variables: of a Keras variable, the gradient that is not there fails instead of being 0.
        self.shared = [v.value for v in self.parts.shared]
        self.own = [v.value for name in self.heads for v in self.parts.own[name]]
        self.strategy = STRATEGIES[settings.strategy](len(groups), settings.seed)
        # One network gives the probabilities and, on the way, the features at which the branches part.
        self.network = keras.Model(network.input, {"": named_tensors(network)[TRUNK], **network.output})
        self.loss = SmoothedCrossentropy(settings.label_smoothing)
        self.accumulate = settings.accumulate
        self.devices = devices or Devices()
        self.loss_scale, self.float16 = LossScale(), float16
        self.methods = isinstance(self.strategy, GradientMethod) and bool(self.shared)
        self.soft = {name: tf.constant(values) for name, values in (soft or {}).items()}
        self.teacher_weight, self.temperature = settings.teacher_weight, settings.temperature
        self.open = {part: tf.Variable(1.0, trainable=False) for part in ("shared", "heads")}
        self.schedule = schedule(settings, steps)
        self.done = tf.Variable(0, dtype=tf.int64, trainable=False)
        # A head with weight 0 teaches nothing and stands still; a task of such heads does not count at all.
        self.counts = {name: float(loss_weights[name] > 0) for name in self.heads}
        ids = {id(v) for v in slow}
        self.alternate = settings.strategy == "alternate" and len(groups) > 1
        sides = {"": self.parts.shared, **self.parts.own}
        # By task and head; "" for all tasks, and for the shared part.
        self.optimizers: dict[tuple[str, str], AdamW] = {}
        for task in groups if self.alternate else [""]:
            for head, variables in sides.items():
                if not head or not task or head in groups[task]:
                    self.optimizers[task, head] = optimizer(variables, ids, settings)

    def freeze(self, part: str) -> None:
        """Let the "backbone" (all that is shared) or the "heads" (all that is not) stand still, or "none" of them."""
        self.open["shared"].assign(float(part != "backbone"))
        self.open["heads"].assign(float(part != "heads"))

    @property
    def state(self) -> list[tf.Variable]:
        """All that a training remembers beside the network's weights, in a fixed order."""
        moments = [v for o in self.optimizers.values() for v in o.state]
        return [self.done, *self.strategy.state.values(), *moments, self.loss_scale.scale, self.loss_scale.sound]

    @tf.autograph.experimental.do_not_convert  # plain tensors: nothing to convert, and tracing is faster
    def step(self, batch: Batch) -> tf.Tensor:
        """Move the weights once. Returns the unweighted loss of each head, float32 (heads,), NaN without a label."""
        turn = batch[3]
        labelled = self._taught(batch[2])
        if self.alternate:  # as if only the labels of the task whose turn it is were there
            turns = {h: tf.cast(turn == t, tf.float32) for t, heads in enumerate(self.groups.values()) for h in heads}
            labelled = {head: value * turns[head] for head, value in labelled.items()}
        present = tf.stack([tf.reduce_max([labelled[h] for h in heads]) for heads in self.groups.values()])
        rate = self.schedule(tf.identity(self.done))
        if self.methods or (self.accumulate > 1 and self.strategy.needs_losses):
            each, shared, branches = self._one_by_one(batch, present)
        else:
            weights = None
            if self.accumulate > 1:  # known before the losses are
                weights = self.strategy.weights(tf.zeros(len(self.groups)), present, None) * present
            each, *found = self._over(
                batch, lambda part, totals: self._together(part, totals, present, weights), [*self.shared, *self.own]
            )
            shared, branches = found[: len(self.shared)], found[len(self.shared) :]
        moves = {"": tf.reduce_max(present), **labelled}
        if self.float16:
            found, finite = self.loss_scale.undo([*shared, *branches])
            shared, branches = found[: len(shared)], found[len(shared) :]
            moves = {head: value * finite for head, value in moves.items()}
        parts = {"": shared}
        for name in self.heads:
            parts[name], branches = branches[: len(self.parts.own[name])], branches[len(self.parts.own[name]) :]
        if self.alternate:
            self._one_task(parts, turn, moves, rate)
        else:
            self._apply("", parts, rate, moves)
        self.done.assign_add(1)
        return tf.stack([tf.where(labelled[h] > 0, each[i], np.nan) for i, h in enumerate(self.heads)])

    def _over(
        self, batch: Batch, of_part: Callable[[Batch, Totals | None], list[tf.Tensor]], like: Sequence[tf.Variable]
    ) -> list[tf.Tensor]:
        """The sum, over the parts of a batch, of what `of_part` finds: tensors (heads,), then some shaped `like` these.

        A part is what one device sees of one of the batches that accumulate: one after the other, so that the
        activations of one are in memory at a time. What the parts find adds up to what the whole batch gives: each
        label weighs the same, whichever part it is in.
        """
        image, labels, weights, turn, rows = batch
        number, count, here = self.devices.number(), self.devices.count, self.devices.here
        if self.accumulate * count == 1:
            return of_part(batch, None)
        totals = {name: tf.reduce_sum(values) for name, values in weights.items()}, rows.shape[0]
        size = rows.shape[0] // (self.accumulate * count)

        def part(i: tf.Tensor | int) -> Batch:
            def cut(values: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
                return tf.ensure_shape(values[place * size : (place + 1) * size], (size, *values.shape[1:]))

            # The images are those of the devices of this process; what is known of them, of all.
            seen = tf.nest.map_structure(lambda v: cut(v, i * here + number - self.devices.first), image)
            known, counted, mine = tf.nest.map_structure(lambda v: cut(v, i * count + number), (labels, weights, rows))
            return seen, known, counted, turn, mine

        if count > 1:  # devices cannot wait for each other within a loop of the graph, as BatchNormalization makes them
            sums = of_part(part(0), totals)
            for i in range(1, self.accumulate):
                with tf.control_dependencies(sums):
                    sums = [s + v for s, v in zip(sums, of_part(part(i), totals), strict=True)]
            return self.devices.summed(sums)

        def add(i: tf.Tensor, *sums: tf.Tensor) -> list[tf.Tensor]:
            return [i + 1, *(s + v for s, v in zip(sums, of_part(part(i), totals), strict=True))]

        start = [tf.zeros(len(self.heads)), *(tf.zeros(v.shape) for v in like)]
        return tf.while_loop(lambda i, *_: i < self.accumulate, add, [0, *start], parallel_iterations=1)[1:]

    def _together(
        self, batch: Batch, totals: Totals | None, present: tf.Tensor, weights: tf.Tensor | None
    ) -> list[tf.Tensor]:
        """Losses (heads,) and the gradients of their weighted sum, in one backward pass.

        `weights` are those of the tasks; without them the strategy finds them in the losses.
        """
        with tf.GradientTape(persistent=self.strategy.needs_features) as tape:
            tape.watch(batch[0])
            outputs = self.network(batch[0], training=True)
            each = self._losses(outputs, batch, totals)
            losses = self._of_tasks(each)
            aims = self._scaled(losses)
        if weights is None:
            norms, known = None, tf.stack(losses)
            if self.strategy.needs_features:
                norms = self._norms(tape, losses, outputs[""])
                norms = tf.sqrt(self.devices.summed([norms**2])[0]) if self.devices.count > 1 else norms
            if self.strategy.needs_losses:
                known = self.devices.summed([known])[0]
            weights = self.strategy.weights(known, present, norms) * present
        factors = tf.unstack(weights, num=len(losses))
        found = tape.gradient(aims, [*self.shared, *self.own], factors, tf.UnconnectedGradients.ZERO)
        return [tf.stack([each[h] for h in self.heads]), *found]

    def _one_by_one(self, batch: Batch, present: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
        """Losses (heads,), and the gradients of the shared weights and of the branches: a backward pass a task.

        A gradient method needs those of each task; so does a weighting that finds its weights in the losses of the
        whole batch, when the batch comes in parts.
        """
        tasks, count = len(self.groups), len(self.shared)
        like = [*self.shared] * tasks + self.own
        if self.strategy.needs_features:
            like = [tf.zeros(tasks), *like]
        each, *found = self._over(batch, self._by_task, like)
        squares = found.pop(0) if self.strategy.needs_features else None
        rows, branches = [found[t * count : (t + 1) * count] for t in range(tasks)], found[tasks * count :]
        if self.methods:
            scale = self.loss_scale.scale if self.float16 else 1.0
            products = gram([[g / scale for g in row] for row in rows] if self.float16 else rows)
            factors = self.strategy.combine(products, present, self.done) * present  # type: ignore[attr-defined]
        else:
            losses = self._of_tasks(dict(zip(self.heads, tf.unstack(each, num=len(self.heads)), strict=True)))
            norms = None if squares is None else tf.sqrt(squares)
            factors = self.strategy.weights(tf.stack(losses), present, norms) * present
            task_of = {head: t for t, heads in enumerate(self.groups.values()) for head in heads}
            owners = [task_of[head] for head in self.heads for _ in self.parts.own[head]]
            branches = [factors[t] * g for t, g in zip(owners, branches, strict=True)]
        shared = [tf.add_n([factors[t] * g for t, g in enumerate(mine)]) for mine in zip(*rows, strict=True)]
        return each, shared, branches

    def _by_task(self, batch: Batch, totals: Totals | None) -> list[tf.Tensor]:
        """Losses (heads,), where asked for the squared norms at the features (tasks,), each task's gradient on the
        shared weights, one after the other, and those of the branches."""
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(batch[0])
            outputs = self.network(batch[0], training=True)
            each = self._losses(outputs, batch, totals)
            losses = self._of_tasks(each)
            aims = self._scaled(losses)
        rows = self._rows(tape, aims)
        branches = tape.gradient(aims, self.own, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        squares = [self._norms(tape, losses, outputs[""]) ** 2] if self.strategy.needs_features else []
        return [tf.stack([each[h] for h in self.heads]), *squares, *(g for row in rows for g in row), *branches]

    def _scaled(self, losses: list[tf.Tensor]) -> list[tf.Tensor]:
        return [loss * self.loss_scale.scale for loss in losses] if self.float16 else losses

    def _of_tasks(self, each: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """The loss of each task: the weighted sum of those of its heads."""
        return [tf.add_n([self.loss_weights[h] * each[h] for h in heads]) for heads in self.groups.values()]

    def _rows(self, tape: tf.GradientTape, losses: list[tf.Tensor]) -> list[list[tf.Tensor]]:
        """Each task's gradient on the shared weights: a backward pass a task."""
        return [tape.gradient(loss, self.shared, unconnected_gradients=tf.UnconnectedGradients.ZERO) for loss in losses]

    def _norms(self, tape: tf.GradientTape, losses: list[tf.Tensor], features: tf.Tensor) -> tf.Tensor:
        found = [tape.gradient(loss, features, unconnected_gradients=tf.UnconnectedGradients.ZERO) for loss in losses]
        return tf.stack([tf.norm(tf.cast(tf.nest.flatten(g)[0], tf.float32)) for g in found])

    def _one_task(
        self, parts: Mapping[str, list[tf.Tensor]], turn: tf.Tensor, moves: Mapping[str, tf.Tensor], rate: tf.Tensor
    ) -> None:
        def turn_of(task: str) -> tf.Tensor:
            self._apply(task, parts, rate, moves)
            return tf.constant(0)

        tf.switch_case(turn, [lambda task=task: turn_of(task) for task in self.groups])

    def _apply(
        self, task: str, gradients: Mapping[str, list[tf.Tensor]], rate: tf.Tensor, moves: Mapping[str, tf.Tensor]
    ) -> None:
        for (owner, head), optimizer in self.optimizers.items():
            if owner == task:
                optimizer.apply(gradients[head], rate, moves[head] * self.open["heads" if head else "shared"])

    def _taught(self, weights: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Whether anything in a batch of these label weights teaches a head: 1.0 or 0.0."""
        taught = {name: tf.reduce_max(weights[name]) for name in self.heads} | dict.fromkeys(self.soft, tf.ones(()))
        return {name: self.counts[name] * value for name, value in taught.items()}

    def _losses(
        self, outputs: Mapping[str, tf.Tensor], batch: Batch, totals: Totals | None = None
    ) -> dict[str, tf.Tensor]:
        """The loss of each head.

        With the `totals` of a larger batch that this one is a part of, a loss is this part's share: a mean over
        labelled paintings weighs what part of all labels is here, a mean over paintings what part of the paintings.

        A teacher's part of a loss is T^2 times the Kullback-Leibler divergence of the softened answers (Hinton,
        Vinyals & Dean 2015, Distilling the knowledge in a neural network, arXiv 1503.02531).
        """
        _, labels, weights, _, rows = batch
        each = {name: self.loss(labels[name], outputs[name], sample_weight=weights[name]) for name in self.heads}
        if totals is not None:
            known, paintings = totals
            each = {n: v * tf.reduce_sum(weights[n]) / tf.maximum(known[n], 1.0) for n, v in each.items()}
        for name, answers in self.soft.items():
            wanted = tf.gather(answers, rows)
            mine = tf.nn.log_softmax(tf.math.log(outputs[name] + 1e-12) / self.temperature)
            divergence = tf.reduce_sum(wanted * (tf.math.log(wanted + 1e-12) - mine), axis=1)
            distilled = self.temperature**2 * tf.reduce_mean(divergence)
            if totals is not None:
                distilled *= rows.shape[0] / paintings
            each[name] = (1 - self.teacher_weight) * each[name] + self.teacher_weight * distilled
        return each

    @tf.autograph.experimental.do_not_convert
    def cosines(self, batch: Batch) -> tf.Tensor:
        """Cosines between the tasks' gradients on the shared weights, float32 (tasks, tasks); moves nothing.

        NaN where a task has no label in the batch.
        """
        tasks, count = len(self.groups), len(self.shared)

        def rows_of(part: Batch, totals: Totals | None) -> list[tf.Tensor]:
            with tf.GradientTape(persistent=True) as tape:
                each = self._losses(self.network(part[0], training=False), part, totals)
                aims = self._scaled(self._of_tasks(each))  # in 16 bits small gradients would else be lost
            return [tf.zeros(len(self.heads)), *(g for row in self._rows(tape, aims) for g in row)]

        _, *found = self._over(batch, rows_of, [*self.shared] * tasks)
        products = gram([found[t * count : (t + 1) * count] for t in range(tasks)])
        norms = tf.sqrt(tf.linalg.diag_part(products))
        return products / (norms[:, None] * norms[None, :])


def gram(rows: Sequence[Sequence[tf.Tensor]]) -> tf.Tensor:
    """Inner products of gradients, each given as a list of tensors: float32 (rows, rows)."""
    flat = [tf.concat([tf.reshape(g, [-1]) for g in row], 0) for row in rows]
    # Not one matrix product: TensorFlow takes four times as long for one of three long rows.
    products = {(i, j): tf.reduce_sum(a * flat[j]) for i, a in enumerate(flat) for j in range(i + 1)}
    every = range(len(flat))
    return tf.stack([tf.stack([products[max(i, j), min(i, j)] for j in every]) for i in every])
