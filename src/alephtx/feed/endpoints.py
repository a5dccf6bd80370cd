"""The addresses of a venue: its environment's, or those that the config gives."""

import msgspec

from alephtx.core.config_schema import VenueConfig
from alephtx.core.errors import ConfigError
from alephtx.core.ports import Endpoints, Venue


def endpoints_of(venue: Venue, section: VenueConfig) -> Endpoints:
    """Return the addresses to use: the environment's, each replaced by what the config gives."""
    given = {
        name: getattr(section, name)
        for name in ("http", "market", "private", "trade")
        if getattr(section, name)
    }
    base = venue.spec.endpoints.get(section.environment)
    if base is not None:
        return msgspec.structs.replace(base, **given)
    if not {"http", "market"} <= given.keys():
        raise ConfigError(
            f"venues.{venue.spec.name}: {section.environment!r} has no addresses of its own",
            remedy="set http and market, or start a twin that writes them",
        )
    return Endpoints(**{"private": "", **given})
