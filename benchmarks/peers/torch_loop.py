"""The same networks in PyTorch, as its users write a fast loop: channels_last and a fused Adam.

    python -m benchmarks.peers.torch_loop EPOCHS IMAGES VARIANT...

prints a line of JSON after every epoch, as benchmarks.peers.notebook does.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from torch import nn

from pipeline.data.datasets import load_data
from pipeline.study.layers import plan_layers
from pipeline.study.variants import DROPOUT_RATE, LEARNING_RATE, Variant, find_variant

BATCH = 128


def build_module(variant: Variant) -> nn.Sequential:
    """What the variant's notation builds, in PyTorch's layers; logits out."""
    modules: list[nn.Module] = []
    channels = 1
    for layer in plan_layers(variant):
        if layer.kind == "conv":
            modules += [nn.Conv2d(channels, layer.units, variant.kernel, padding=layer.padding), nn.ReLU()]
        elif layer.kind == "pool":
            modules.append(nn.MaxPool2d(2, ceil_mode=layer.padding == "same"))
        elif layer.kind == "dropout":
            modules.append(nn.Dropout(DROPOUT_RATE))
        elif layer.kind == "batch_norm":
            modules.append(nn.BatchNorm1d(channels))
        elif layer.kind == "flatten":
            modules.append(nn.Flatten())
        elif layer.kind == "dense":
            modules += [nn.Linear(channels, layer.units), nn.ReLU()]
        else:
            modules.append(nn.Linear(channels, layer.units))
        channels = layer.shape[-1]
    return nn.Sequential(*modules).to(memory_format=torch.channels_last)


def train_epoch(
    module: nn.Sequential, optimizer: torch.optim.Adam, data: tuple[torch.Tensor, torch.Tensor], l2: float
) -> None:
    """One pass over the images in a random order."""
    module.train()
    kernels = [weight for weight in module.parameters() if weight.ndim > 1][:-1]
    for places in torch.randperm(len(data[0])).split(BATCH):
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(module(data[0][places]), data[1][places])
        if l2:
            loss = loss + l2 * sum(kernel.square().sum() for kernel in kernels)
        loss.backward()
        optimizer.step()


def main(epochs: int, images: int, variants: list[str]) -> None:
    """Train each variant and evaluate it after every epoch."""
    dataset = load_data("auto", subset=images)
    x_train, x_test = (
        torch.from_numpy(values).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        for values in (dataset.x_train, dataset.x_test)
    )
    y_train, y_test = (torch.from_numpy(labels).long() for labels in (dataset.y_train, dataset.y_test))
    for name in variants:
        variant = find_variant(name)
        module = build_module(variant)
        optimizer = torch.optim.Adam(module.parameters(), lr=LEARNING_RATE, fused=True)
        for _ in range(epochs):
            begun = time.perf_counter()
            train_epoch(module, optimizer, (x_train, y_train), variant.l2)
            trained = time.perf_counter() - begun
            module.eval()
            with torch.inference_mode():
                _ = [
                    nn.functional.cross_entropy(module(x), y)
                    for x, y in zip(x_test.split(500), y_test.split(500), strict=True)
                ]
            print(json.dumps({"variant": name, "train": trained}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
