"""Runs inside the image after the core group: the numeric and imaging libraries compute."""

import io

import numpy as np
import pandas as pd
import pydicom
import scipy
import sklearn
from PIL import Image
from sklearn.linear_model import LogisticRegression

matrix = np.array([[3.0, 1.0], [1.0, 2.0]])
assert np.allclose(matrix @ scipy.linalg.solve(matrix, [9.0, 8.0]), [9.0, 8.0])
areas = pd.DataFrame({"slice": [1, 1, 2], "area": [2.0, 4.0, 6.0]})
assert areas.groupby("slice").area.mean()[1] == 3.0
points = np.arange(20.0).reshape(-1, 1)
large = points.ravel() > 9
assert LogisticRegression().fit(points, large).score(points, large) == 1.0

encoded = io.BytesIO()
Image.fromarray(np.full((8, 8), 77, dtype=np.uint8)).save(encoded, format="PNG")
assert np.asarray(Image.open(encoded))[3, 3] == 77
scan = pydicom.Dataset()
scan.Modality = "CT"
assert pydicom.Dataset.from_json(scan.to_json()).Modality == "CT"

for library in (np, scipy, pd, sklearn, pydicom):
    print(library.__name__, library.__version__)
