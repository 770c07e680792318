"""The policy: which task goes to which queue, at which priority, and what each queue promises.

Pure: nothing here knows a broker, the network or a command line.
"""

from laneway.policy.policy import Policy, lint_policy, load_policy, policy_root

__all__ = ["Policy", "lint_policy", "load_policy", "policy_root"]
