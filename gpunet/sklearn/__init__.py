"""Estimators for scikit-learn: pipelines, searches, cross-validation around gpunet's networks.

from gpunet.sklearn import MLPClassifier

model = make_pipeline(StandardScaler(), MLPClassifier(optimizer="adamw", early_stopping=True))
"""

from gpunet.extras import extra

extra("sklearn", "sklearn", "gpunet.sklearn")  # one line, instead of a traceback of its imports

from gpunet.sklearn.classifier import MLPClassifier
from gpunet.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
