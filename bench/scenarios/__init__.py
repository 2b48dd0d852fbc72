"""The loads: who creates how many Runs when. One a file; each drives a `Load` and returns a sample a Run."""

from bench.scenarios.backlog import Backlog
from bench.scenarios.burst import Burst
from bench.scenarios.creators import Creators
from bench.scenarios.in_flight import InFlight
from bench.scenarios.poisson import Poisson
from bench.scenarios.scenario import Scenario
from bench.scenarios.serial import Serial
from bench.scenarios.soak import Soak

__all__ = ["Backlog", "Burst", "Creators", "InFlight", "Poisson", "Scenario", "Serial", "Soak"]
