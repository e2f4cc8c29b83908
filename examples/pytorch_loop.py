"""PyTorch: a plain loop with Dropout, AdamW and a learning-rate schedule."""

import hashlib

import torch
from torch import nn

import outlast

STEPS = 1000

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)
inputs = torch.randn(4096, 20)
targets = (inputs[:, :5].sum(1) > inputs[:, 5:10].prod(1)).long()

model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)

session = outlast.Session()
session.track(model=model, optimizer=optimizer, schedule=schedule)

for _ in session.steps(STEPS):
    batch = torch.randint(0, len(inputs), (64,))  # PyTorch's generator is restored as well
    loss = nn.functional.cross_entropy(model(inputs[batch]), targets[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()

weights = b"".join(tensor.detach().numpy().tobytes() for tensor in model.state_dict().values())
print("sha256", hashlib.sha256(weights).hexdigest())
