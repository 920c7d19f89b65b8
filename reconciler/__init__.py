"""RayOps: a declarative GitOps reconciler for native Ray clusters."""

__version__ = "0.1.0"
