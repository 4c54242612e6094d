"""Runs inside the image after the pytorch group: a model learns, and its libraries fit to it.

No GPU is needed. torchvision and torchaudio are looked at where they are installed.
"""

import importlib.util
import sys

import torch

cuda = sys.argv[1] if len(sys.argv) > 1 else ""
assert not cuda or str(torch.version.cuda).split(".")[0] == cuda, (
    f"torch is built for CUDA {torch.version.cuda}, this target is CUDA {cuda}"
)

torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(7200, 2)
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
images, classes = torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
losses = []
for _ in range(5):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(images), classes)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], f"the loss did not fall: {losses}"
print("torch", torch.__version__)
print("cuda", torch.version.cuda, "cudnn", torch.backends.cudnn.version())

if importlib.util.find_spec("torchvision"):
    import torchvision

    scores = torchvision.models.resnet18(num_classes=2).eval()(images)
    assert scores.shape == (4, 2), scores.shape
    # The compiled operators exist only where torchvision was built for this very torch.
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [1.0, 1.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]
    print("torchvision", torchvision.__version__)

if importlib.util.find_spec("torchaudio"):
    import torchaudio

    wave = torch.sin(torch.arange(16000) * 2 * torch.pi * 440 / 16000)
    spectrum = torchaudio.transforms.MelSpectrogram(sample_rate=16000, n_mels=40)(wave)
    assert spectrum.isfinite().all()
    # Its compiled filter, against what the recursion gives by hand.
    feedback, forward = torch.tensor([1.0, 0.5]), torch.tensor([1.0, 0.0])
    filtered = torchaudio.functional.lfilter(torch.tensor([0.5, 0.0, 0.0]), feedback, forward)
    assert filtered.tolist() == [0.5, -0.25, 0.125]
    print("torchaudio", torchaudio.__version__)
