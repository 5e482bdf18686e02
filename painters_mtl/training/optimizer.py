"""AdamW that can stand still, its learning rate over a training, and the loss scale that 16-bit gradients need."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from painters_mtl.training.settings import TrainSettings

WARM_UP = 0.08  # share of the steps in which the learning rate rises


class AdamW:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) for some of a network's weights; a step can be left out.

    A head without a label in the batch must not move: neither by Adam's momentum nor by weight decay. Its step count,
    which corrects the moments for their start at 0, must not rise either. Keras's optimizers have no such switch.
    """

    BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7

    def __init__(self, variables: Sequence[keras.Variable], rates: Sequence[float], decays: Sequence[float]) -> None:
        """Args:
        rates: for each variable, the part of the learning rate at which it moves.
        decays: for each variable, its weight decay.
        """
        self.variables, self.rates, self.decays = list(variables), list(rates), list(decays)
        self.steps = tf.Variable(0.0, trainable=False)
        self.m = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]
        self.v = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]

    @property
    def state(self) -> list[tf.Variable]:
        """Step count and moments; saved with a checkpoint."""
        return [self.steps, *self.m, *self.v]

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor, moves: tf.Tensor) -> None:
        """One step, in place. `moves` is float32 () 1 or 0: 0 changes nothing at all.

        TensorFlow's fused kernel reads and writes each weight once. With single operations, as Keras's optimizers have
        them, the step of a network of this size takes a fifth of the training time. The kernel changes nothing where
        both betas are 1 and the rate is 0.
        """
        self.steps.assign_add(moves)
        count = tf.maximum(self.steps, 1.0)
        beta_1, beta_2 = 1 - moves * (1 - self.BETA_1), 1 - moves * (1 - self.BETA_2)
        for variable, gradient, m, v, rate, decay in zip(
            self.variables, gradients, self.m, self.v, self.rates, self.decays, strict=True
        ):
            moved = moves * learning_rate * rate
            if decay:
                shrunk = moved * decay * variable.value
                tf.raw_ops.AssignSubVariableOp(resource=variable.value.handle, value=shrunk)
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle, m=m.handle, v=v.handle, beta1_power=self.BETA_1**count,
                beta2_power=self.BETA_2**count, lr=moved, beta1=beta_1, beta2=beta_2, epsilon=self.EPSILON,
                grad=gradient,
            )  # fmt: skip


def build_optimizer(variables: Sequence[keras.Variable], pretrained: set[int], settings: TrainSettings) -> AdamW:
    """AdamW at the rates and weight decays that suit each of the variables.

    The weights of a pretrained backbone move at a part of the heads' rate: at the whole of it, what ImageNet taught
    them is lost in the first hundred steps of a short training. Weight decay pulls towards 0, so it is for the kernels
    of new layers only.

    Args:
        pretrained: the `id` of each variable of a pretrained backbone.
    """
    rates = [settings.backbone_rate if id(v) in pretrained else 1.0 for v in variables]
    without_decay = [id(v) in pretrained or v.name in ("bias", "gamma", "beta") for v in variables]
    return AdamW(variables, rates, [0.0 if without else settings.weight_decay for without in without_decay])


def learning_rate_schedule(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate at each step: it rises to `peak` in the first 8 % of the `steps`, then falls to 0.

    It falls by half a cosine (Loshchilov & Hutter 2017, arXiv 1608.03983, without restarts).
    """
    warm_up = max(1, round(WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )


class LossScale:
    """The factor for losses that keeps 16-bit gradients from vanishing (Micikevicius et al. 2018, arXiv 1710.03740).

    It is halved where a gradient overflows, and doubled after 2,000 steps without. Only float16 needs it: when it is
    not `used`, nothing is scaled and every gradient counts as finite.
    """

    START, PATIENCE = 2.0**15, 2000

    def __init__(self, used: bool = True) -> None:
        self.used = used
        self.scale = tf.Variable(self.START, trainable=False)
        self.finite_steps = tf.Variable(0, trainable=False)

    @property
    def state(self) -> list[tf.Variable]:
        """The factor and the steps since it last changed; saved with a checkpoint."""
        return [self.scale, self.finite_steps]

    def scaled(self, losses: list[tf.Tensor]) -> list[tf.Tensor]:
        """The losses times the factor."""
        return [loss * self.scale for loss in losses] if self.used else losses

    def unscaled(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """Gradients of scaled losses, divided by the factor. Those that overflowed stay infinite or NaN."""
        return [gradient / self.scale for gradient in gradients] if self.used else gradients

    def checked(self, gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Gradients of the losses themselves, and 1.0; or zeros and 0.0 where one of them overflowed.

        Also adapts the factor. Call it once a step.
        """
        if not self.used:
            return gradients, tf.ones(())
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
        unscaled = [tf.where(finite, g / self.scale, tf.zeros_like(g)) for g in gradients]
        doubles = self.finite_steps >= self.PATIENCE - 1
        grown = tf.where(doubles, 2.0 * self.scale, self.scale)
        self.scale.assign(tf.where(finite, grown, tf.maximum(self.scale / 2, 1.0)))
        self.finite_steps.assign(tf.where(finite & ~doubles, self.finite_steps + 1, 0))
        return unscaled, tf.cast(finite, tf.float32)
