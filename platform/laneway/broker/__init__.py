"""Which broker: its address, clients and management interface, and what its version can promise."""

from laneway.broker.address import BrokerAddress, VhostKind, broker_address, mask_password
from laneway.broker.client import CLIENTS, Client, ClientName, refuse_worker
from laneway.broker.profile import Profile, all_profiles, profile_of, server_version

__all__ = [
    # Address
    "BrokerAddress",
    "VhostKind",
    "broker_address",
    "mask_password",
    # Client
    "CLIENTS",
    "Client",
    "ClientName",
    "refuse_worker",
    # Profile
    "Profile",
    "all_profiles",
    "profile_of",
    "server_version",
]
