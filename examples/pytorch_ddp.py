"""PyTorch, several processes: ``torchrun --nproc-per-node 2 pytorch_ddp.py``.

Each rank has a session. Rank 0 alone reads the notice; all stop at the same step, and a
checkpoint is whole only with every rank's part (here: the generator of its own data).
"""

import hashlib

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import outlast

STEPS = 400

dist.init_process_group("gloo")
torch.manual_seed(0)
model = DistributedDataParallel(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 2)))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
torch.manual_seed(1 + dist.get_rank())  # each rank draws data of its own

session = outlast.Session()
session.track(model=model, optimizer=optimizer)

for _ in session.steps(STEPS):
    inputs = torch.randn(64, 20)
    targets = (inputs[:, :5].sum(1) > 0).long()
    loss = nn.functional.cross_entropy(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()  # waits for all ranks: none can be more than one step ahead
    optimizer.step()

if session.rank == 0:
    weights = b"".join(tensor.detach().numpy().tobytes() for tensor in model.state_dict().values())
    print("sha256", hashlib.sha256(weights).hexdigest())
dist.destroy_process_group()
