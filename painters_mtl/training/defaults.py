"""What a training does where nothing is asked for: epochs, paintings a step, learning rate, sides of the crops."""

import numpy as np

SAMPLES = 100_000  # training samples of a whole training: six minutes at 96 pixels on two cores
SAMPLES_OF_BEST = 300_000  # with --quality best
TAUGHT = 2  # times as many samples where teachers answer for each painting (--distill)
LEARNING_RATE = 2e-3  # at its peak, for 64 paintings a step
EPOCHS_OF_HEADS = 15  # where only the heads train, an epoch takes a second
STEPS_OF_HEADS = 27  # of each such epoch, at least: 400 in all


def default_epochs(samples: int, demo: bool = False, quality: str = "fast", taught: bool = False) -> int:
    """Number of epochs of `samples` each that make some 100,000 samples, but at least 5 and at most 20.

    With --quality best 300,000 and at most 40: mixed crops are not soon learned by heart. Neither are teachers'
    answers, so --distill learns twice as long. The demo is there to be tried, with all its networks, in five
    minutes: 3.
    """
    if demo:
        return 3
    total, most = (SAMPLES_OF_BEST, 40) if quality == "best" else (SAMPLES, 20)
    if taught and quality == "fast":
        total, most = TAUGHT * total, TAUGHT * most
    return int(np.clip(round(total / samples), 5, most))


def default_batch(samples: int) -> int:
    """Paintings a step, where an epoch has so many samples: 64, or 32 or 16 so that an epoch has 50 steps."""
    return next((size for size in (64, 32) if samples >= 50 * size), 16)


def peak_rate(requested: float, batch_size: int) -> float:
    """The learning rate at its peak: the one requested; for 0, 2e-3 for 64 paintings a step, less for fewer.

    Small batches make many small steps in noisy directions; at the rate of large ones a few hundred paintings lose
    what ImageNet taught (docs/experiments.md). The linear rule is that of Goyal et al. 2017, arXiv 1706.02677.
    """
    return requested or LEARNING_RATE * min(1.0, batch_size / 64)


def training_sides(image_size: int, epochs: int) -> list[int]:
    """Sides of the training crops, in pixels, by epoch: from 1/2 to 5/6 of the side in prediction, multiples of 8.

    A crop shows things larger than the whole painting does; smaller crops bring them nearer to the size they have in
    prediction (Touvron et al. 2019, Fixing the train-test resolution discrepancy, arXiv 1906.06423). And what the
    first epochs teach can be seen at a low resolution, for a third of the arithmetic (Tan & Le 2021, EfficientNetV2,
    arXiv 2104.00298, progressive learning).
    """
    fractions = np.linspace(1 / 2, 5 / 6, epochs) if epochs > 1 else [3 / 4]
    # Rounded down, but for whole multiples of 8 that the division leaves a rounding error below.
    return [max(32, int(image_size * fraction / 8 + 1e-9) * 8) for fraction in fractions]
