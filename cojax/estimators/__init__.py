"""Estimators as scikit-learn has them, trained over a network; needs the extra `data`."""

from .classifier import DecentralizedClassifier as DecentralizedClassifier
