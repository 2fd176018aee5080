# SPDX-License-Identifier: BSD-3-Clause
"""scikit-learn estimators: `train` behind fit, partial_fit and predict."""

try:
    from hybridtrain.sklearn.classifier import LinearClassifier
    from hybridtrain.sklearn.regressor import LinearRegressor
except ImportError as error:
    raise ImportError(
        "hybridtrain.sklearn needs scikit-learn 1.6 or later: pip install 'hybridtrain[sklearn]'"
    ) from error

__all__ = ["LinearClassifier", "LinearRegressor"]
