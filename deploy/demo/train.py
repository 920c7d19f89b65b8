"""Train a softmax classifier on handwritten digits, data-parallel over the nodes of the job.

A small program with the habits of a large one: it takes one worker per node with all of the node's GPUs, averages
their gradients, writes a checkpoint after each epoch in one step, and goes on from the last one when it is started
again.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import ray
from sklearn.datasets import load_digits

CLASSES = 10


@ray.remote
class Shard:
    """One node's share of the data."""

    def __init__(self, index: int, count: int) -> None:
        images, labels = load_digits(return_X_y=True)
        self.images = images[index::count] / 16.0
        self.labels = np.eye(CLASSES)[labels[index::count]]

    def where(self) -> tuple[str, list[int]]:
        """Return the node's name and the GPUs that Ray gave to this worker."""
        labels = ray.get_runtime_context().get_node_labels()
        return labels.get("rayops-node", "?"), [int(gpu) for gpu in ray.get_gpu_ids()]

    def step(self, weights: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Return gradient, loss and accuracy of the weights on this share."""
        scores = np.exp(self.images @ weights)
        guess = scores / scores.sum(axis=1, keepdims=True)
        gradient = self.images.T @ (guess - self.labels) / len(self.labels)
        loss = -float(np.log((guess * self.labels).sum(axis=1)).mean())
        hits = float((guess.argmax(axis=1) == self.labels.argmax(axis=1)).mean())
        return gradient, loss, hits


def main() -> None:
    """Train for the given number of epochs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60, help="gradient steps in one epoch")
    options = parser.parse_args()
    nodes = os.environ["RAYOPS_NODES"].split(",")
    gpus = int(os.environ["RAYOPS_GPUS_PER_NODE"])
    checkpoints = Path(os.environ["RAYOPS_CHECKPOINT_DIR"])
    checkpoints.mkdir(parents=True, exist_ok=True)

    ray.init(log_to_driver=False)
    shards = [
        Shard.options(num_cpus=1, num_gpus=gpus, label_selector={"rayops-node": node}).remote(index, len(nodes))
        for index, node in enumerate(nodes)
    ]
    for name, ids in ray.get([shard.where.remote() for shard in shards]):
        print(f"worker on {name} with GPUs {ids}")

    weights, first = np.zeros((64, CLASSES)), 0
    saved = sorted(checkpoints.glob("epoch-*.npy"))
    if saved:
        weights, first = np.load(saved[-1]), int(saved[-1].stem.split("-")[1])
        print(f"goes on from {saved[-1].name}")
    for epoch in range(first + 1, options.epochs + 1):
        for _ in range(options.steps):
            answers = ray.get([shard.step.remote(weights) for shard in shards])
            weights = weights - 0.5 * np.mean([gradient for gradient, _, _ in answers], axis=0)
        loss, hits = np.mean([[loss, hits] for _, loss, hits in answers], axis=0)
        fresh = checkpoints / f".epoch-{epoch:04d}.npy"
        np.save(fresh, weights)
        fresh.rename(checkpoints / f"epoch-{epoch:04d}.npy")
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {hits:.3f}", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
