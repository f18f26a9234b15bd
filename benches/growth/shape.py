"""Names how a figure grows: the simplest of a few shapes that explains it within its noise."""

import math

SHAPES = [
    ("constant", lambda n: 0.0),
    ("logarithmic", lambda n: math.log10(n)),
    ("linear", lambda n: float(n)),
    ("quadratic", lambda n: float(n) * n),
]
# Differences below that are not looked into: layout of code and memory alone makes as much.
NOISE_MIN = 0.04
# What fits no better than that has another shape than these.
FIT_MAX = 0.25


def shape(numbers, figures, noise=0.0):
    """The shape's name, the figure at one and what each step adds: a tenfold, a thousand more, or a million pairs.

    Least squares of relative errors, as 3 % of a small figure is worth as much as 3 % of a large one. A shape with a
    step is taken only where the one before it is off by more than the noise, and by half as much again as this one.
    """
    fits = []
    for name, grows in SHAPES:
        start, step = fit([grows(n) for n in numbers], figures)
        if step < 0 or start < 0:
            start, step = max(0.0, start), max(0.0, step)
        errors = [(start + step * grows(n)) / figure - 1 for n, figure in zip(numbers, figures)]
        fits.append((math.sqrt(sum(error * error for error in errors) / len(errors)), name, start, step))
    best = fits[0]
    for other in fits[1:]:
        if best[0] > max(noise, NOISE_MIN) and best[0] > other[0] * 1.5:
            best = other
    error, name, start, step = best
    if error > max(noise, FIT_MAX):
        name = "none of these"
    unit = {"constant": 0, "logarithmic": 1, "linear": 1000, "quadratic": 1e6}.get(name, 0)
    return {"shape": name, "start": start, "step": step * unit, "error": error}


def fit(xs, ys):
    """Of `ys = start + step * xs`, weighted by one over the square of each y."""
    weights = [1 / (y * y) for y in ys]
    whole = sum(weights)
    x_mean = sum(w * x for w, x in zip(weights, xs)) / whole
    y_mean = sum(w * y for w, y in zip(weights, ys)) / whole
    spread = sum(w * (x - x_mean) ** 2 for w, x in zip(weights, xs))
    if spread == 0:
        return y_mean, 0.0
    step = sum(w * (x - x_mean) * (y - y_mean) for w, x, y in zip(weights, xs, ys)) / spread
    return y_mean - step * x_mean, step


def exponent(numbers, figures):
    """By what power of the number the figure grew last, beyond what it is at the least: 1 is linear, 2 quadratic."""
    last, before = figures[-1] - figures[0], figures[-2] - figures[0]
    if len(numbers) < 3 or before <= 0 or last <= 0:
        return None
    return math.log(last / before) / math.log(numbers[-1] / numbers[-2])
