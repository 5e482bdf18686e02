"""The strategies by the names that `--strategy` has for them; apart from them, because it imports them all."""

from collections.abc import Callable, Mapping

from painters_mtl.training.strategies.gradient_methods import CAGrad, PCGrad, UPGrad
from painters_mtl.training.strategies.loss_weighting import DynamicWeightAverage, Famo, GradNorm, Uncertainty
from painters_mtl.training.strategies.strategy import Alternate, Strategy

STRATEGIES: Mapping[str, Callable[[int, int], Strategy]] = {
    "joint": Strategy,
    "alternate": Alternate,
    "uncertainty": Uncertainty,
    "dwa": DynamicWeightAverage,
    "gradnorm": GradNorm,
    "famo": Famo,
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
    "upgrad": UPGrad,
}
