"""Runs inside the image after the cv group: OpenCV without a display, and the detector, if any."""

import importlib.metadata
import importlib.util

import cv2
import numpy as np

# ultralytics asks for opencv-python, which would overwrite files of the headless one.
assert not list(importlib.metadata.Distribution.discover(name="opencv-python"))

square = np.zeros((64, 64), dtype=np.uint8)
cv2.rectangle(square, (16, 16), (47, 47), 255, -1)
contours, _ = cv2.findContours(square, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
assert cv2.boundingRect(contours[0]) == (16, 16, 32, 32)
encoded = cv2.imencode(".png", square)[1]
assert (cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) == square).all()
print("cv2", cv2.__version__)

if importlib.util.find_spec("ultralytics"):
    import torch
    import ultralytics
    from ultralytics.nn.tasks import DetectionModel

    detector = DetectionModel("yolo11n.yaml", nc=2, verbose=False).eval()
    with torch.inference_mode():
        found = detector(torch.zeros(1, 3, 64, 64))[0]
    assert found.shape[:2] == (1, 6), found.shape
    print("ultralytics", ultralytics.__version__)
