"""Exact resume of ``model.fit`` with Keras 3: :class:`outlast.Resume`.

``resume``       the callback: the user's one line
``fit_call``     what a running ``fit`` call works with, found on the stack
``loop``         goes with one ``fit`` call: continues it, saves, stops
``script``       all ``fit`` calls of a program, and how a checkpoint holds them
``feed``         the position in the training data, whatever they are (``data_*``)
``capture``      variables of model and optimizers
``backends``     what differs between TensorFlow, JAX and PyTorch
``copied``       variables on JAX and PyTorch
``streams``      data that Python reads, as on JAX and PyTorch
``weights``      where Keras keeps them in a ``.weights.h5`` file
``callbacks_state``, ``attributes``, ``randomness``   the rest of the state
``outside``      what callbacks write to that is not theirs (found by ``script_names``)
``telling``      what is told before the first step
``epochs``       the fallback for versions of Keras that were not tested: epoch boundaries
"""
