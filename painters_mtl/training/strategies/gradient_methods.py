"""Strategies that combine the gradients of the tasks on the shared weights: a backward pass a task."""

from itertools import combinations

import numpy as np
import tensorflow as tf

from painters_mtl.training.strategies.strategy import Strategy


class GradientMethod(Strategy):
    """A strategy that looks at each task's gradient on the shared weights.

    Everything these methods do stays in the span of the gradients. So their inner products, the Gram matrix, tell
    enough, and the answer is a coefficient for each gradient.
    """

    def coefficients(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Coefficients of the tasks' gradients in the step of the shared weights: float32 (tasks,).

        Args:
            gram: float32 (tasks, tasks), the inner products of the gradients; rows and columns of tasks that are not
                present are 0.
            present: float32 (tasks,), 1 where the batch has a label, else 0.
            step: int64 scalar, for methods that draw at random.
        """
        raise NotImplementedError


class PCGrad(GradientMethod):
    """`pcgrad`: takes from each gradient what goes against another, in random order (Yu et al. 2020, arXiv 2001.06782).

    As in the paper; the order of a step is drawn from the seed and the number of the step.
    """

    def coefficients(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """The sum of the projected gradients; row i says what the i-th of them is made of."""
        rows = []
        draws = tf.random.stateless_uniform((self.tasks, self.tasks), tf.stack([np.int64(self.seed), step]))
        for i in range(self.tasks):
            row = tf.one_hot(i, self.tasks)
            order = tf.argsort(draws[i])
            for k in range(self.tasks):
                j = order[k]
                product = tf.tensordot(row, gram[:, j], 1)
                against = (j != i) & (product < 0) & (gram[j, j] > 0)
                row -= tf.where(against, product / tf.where(gram[j, j] > 0, gram[j, j], 1.0), 0.0) * tf.one_hot(
                    j, self.tasks
                )
            rows.append(row)
        return tf.reduce_sum(tf.stack(rows) * present[:, None], axis=0)


class CAGrad(GradientMethod):
    """`cagrad`: helps the worst-off task within a ball around the mean gradient (Liu et al. 2021, arXiv 2110.14048).

    With the paper's c = 0.4. The dual, min over w in the simplex of g_w . g_0 + c |g_0| |g_w|, is convex. With as few
    unknowns as tasks, its solution for every set of tasks whose w is not 0 is written down, and the best is exact,
    where the authors' code calls SciPy in every step. And the result is `tasks` times the paper's, so that its size is
    that of the sum of the gradients, as with the other strategies.
    """

    RADIUS = 0.4

    def coefficients(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Those of the mean, and beside them those of the direction that helps the worst-off task."""
        # No solver takes what is not finite, such as gradients that overflow in 16 bits. The sum stays not finite.
        gram = tf.where(tf.reduce_all(tf.math.is_finite(gram)), gram, tf.eye(self.tasks))
        count = tf.maximum(tf.reduce_sum(present), 1.0)
        mean = present / count
        # Solved for gradients of mean square 1: the minimum does not depend on the scale, the step size does.
        g = gram / tf.maximum(tf.linalg.trace(gram) / count, 1e-20)
        radius = self.RADIUS * tf.sqrt(tf.maximum(tf.tensordot(mean, tf.linalg.matvec(g, mean), 1), 0.0))
        w = tf.cast(self._worst_off(*(tf.cast(x, tf.float64) for x in (g, mean, radius, present))), tf.float32)
        norm = tf.sqrt(tf.maximum(tf.tensordot(w, tf.linalg.matvec(g, w), 1), 0.0))
        return count * (mean + tf.where(norm > 1e-6, radius / tf.maximum(norm, 1e-6), 0.0) * w)

    def _worst_off(self, g: tf.Tensor, mean: tf.Tensor, radius: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """argmin of w . a + radius |w|_g over the simplex of the tasks that are present, where a = g mean; float64.

        Where w is above 0, all a + radius (g w) / |w|_g are the same number t. So w goes along g^-1 (t - a), and its
        length says that (t - a) . g^-1 (t - a) = radius^2: a quadratic equation, of which the larger t has w above 0.
        """
        a = tf.linalg.matvec(g, mean)
        # Gradients may be parallel; what is not present has rows of 0, and takes no part.
        g = tf.linalg.set_diag(g, tf.linalg.diag_part(g) * (1 + 1e-6) + 1e-12 + (1 - present))
        best, least = present / tf.maximum(tf.reduce_sum(present), 1.0), tf.constant(np.inf, tf.float64)
        every_task = range(self.tasks)
        for chosen in (c for size in range(1, self.tasks + 1) for c in combinations(every_task, size)):
            rows = list(chosen)
            of_chosen, a_chosen = tf.gather(tf.gather(g, rows), rows, axis=1), tf.gather(a, rows)
            solved = tf.linalg.solve(of_chosen, tf.stack([tf.ones_like(a_chosen), a_chosen], axis=1))
            ones, along = solved[:, 0], solved[:, 1]  # g^-1 1 and g^-1 a
            p, q, r = tf.reduce_sum(ones), tf.reduce_sum(along), tf.tensordot(a_chosen, along, 1) - radius**2
            root = tf.sqrt(tf.maximum(q**2 - p * r, 0.0))
            part = tf.maximum(((q + root) / p * ones - along) / tf.maximum(root, 1e-12), 0.0)
            part = part / tf.maximum(tf.reduce_sum(part), 1e-12) if len(rows) > 1 else tf.ones_like(part)
            w = tf.scatter_nd([[k] for k in rows], part, [self.tasks])
            value = tf.tensordot(w, a, 1) + radius * tf.sqrt(tf.tensordot(w, tf.linalg.matvec(g, w), 1))
            better = (value < least) & tf.reduce_all(tf.gather(present, rows) > 0) & (tf.reduce_sum(part) > 0.5)
            best, least = tf.where(better, w, best), tf.where(better, value, least)
        return best


class UPGrad(GradientMethod):
    """`upgrad`: projects each gradient to the cone of directions that hurt no task.

    Quinton & Rey 2024, Jacobian descent for multi-objective optimization, arXiv 2406.16232. The sum of the projections
    has no negative product with any task's gradient: to first order, no task is hurt. The paper takes their mean. Each
    projection is a quadratic program in as many unknowns as tasks; with so few, all sets of active constraints are
    tried, and the solution is exact, where the authors' code calls a solver.
    """

    def coefficients(self, gram: tf.Tensor, present: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        """Sum over i of argmin |sum_j v_j g_j| with v >= e_i."""
        scale = tf.sqrt(tf.maximum(tf.linalg.diag_part(gram), 1e-20))
        cosines = gram / (scale[:, None] * scale[None, :])
        # Gradients may be parallel; a gradient of 0 (no label) is a constraint that always holds.
        cosines = tf.linalg.set_diag(cosines, tf.ones(self.tasks) * (1 + 1e-6))
        total = tf.zeros(self.tasks)
        for i in range(self.tasks):
            total += present[i] * self._projection(cosines, tf.one_hot(i, self.tasks) * scale[i])
        return total / scale * present

    def _projection(self, g: tf.Tensor, least: tf.Tensor) -> tf.Tensor:
        """argmin v' g v with v >= least: the best of the feasible points that an active set gives."""
        best, best_value = least, tf.tensordot(least, tf.linalg.matvec(g, least), 1)
        every_task = range(self.tasks)
        for free in (chosen for size in range(1, self.tasks) for chosen in combinations(every_task, size)):
            bound = [k for k in every_task if k not in free]
            rows = tf.gather(g, list(free))
            right = -tf.linalg.matvec(tf.gather(rows, bound, axis=1), tf.gather(least, bound))
            solved = tf.linalg.solve(tf.gather(rows, list(free), axis=1), right[:, None])[:, 0]
            v = tf.tensor_scatter_nd_update(least, [[k] for k in free], solved)
            value = tf.tensordot(v, tf.linalg.matvec(g, v), 1)
            better = tf.reduce_all(v >= least) & (value < best_value)
            best, best_value = tf.where(better, v, best), tf.where(better, value, best_value)
        return best
