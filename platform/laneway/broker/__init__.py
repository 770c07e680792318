"""Which broker: its address, what its version can promise, and its management interface."""

from laneway.broker.address import BrokerAddress, VhostKind, broker_address, mask_password
from laneway.broker.profile import Profile, all_profiles, profile_of, server_version

__all__ = [
    # Address
    "BrokerAddress",
    "VhostKind",
    "broker_address",
    "mask_password",
    # Profile
    "Profile",
    "all_profiles",
    "profile_of",
    "server_version",
]
