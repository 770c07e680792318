"""How many worker slots a queue needs to keep its service level: pure arithmetic, no I/O."""

from laneway.scaling.need import Load, Need, slots_needed

__all__ = ["Load", "Need", "slots_needed"]
