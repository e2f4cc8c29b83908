"""scikit-learn: a linear classifier of handwritten digits, trained batch by batch.

Run it, stop it, run it again: it goes on at the very next batch and ends with the same bits.
"""

import hashlib

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import outlast

STEPS = 300

images, labels = load_digits(return_X_y=True)
images /= 16.0
classes = np.unique(labels)

model = SGDClassifier(loss="log_loss", random_state=0)
model.partial_fit(images[:1], labels[:1], classes=classes)  # makes its arrays
rng = np.random.default_rng(0)

session = outlast.Session()
session.track(rng=rng)
if session.restored:
    model.coef_ = session.arrays["coef"]
    model.intercept_ = session.arrays["intercept"]
    model.t_ = session.state["t"]

for step in session.steps(STEPS):
    batch = rng.integers(0, len(labels), 32)
    model.partial_fit(images[batch], labels[batch])

    session.arrays.update(coef=model.coef_, intercept=model.intercept_)
    session.state["t"] = model.t_
    if step % 100 == 0:
        session.describe(accuracy=model.score(images, labels))

print("accuracy", model.score(images, labels))
print("sha256", hashlib.sha256(model.coef_.tobytes() + model.intercept_.tobytes()).hexdigest())
