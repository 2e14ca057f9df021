"""One chunk of users from nothing to delivered rows and truth: a pure function of the plan and its number."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import pyarrow as pa

from intent_spark.config.simulation import FileFormat, SimulationConfig
from intent_spark.simulation.behaviour import Behaviour, band_counts, draw_behaviour, draw_bots
from intent_spark.simulation.catalogue import Catalogue
from intent_spark.simulation.clickstream import Events, draw_events
from intent_spark.simulation.encoding import EventEncoder
from intent_spark.simulation.forward_filter import Truth, true_probabilities, zero_probabilities
from intent_spark.simulation.hidden_model import HiddenModel, Ints
from intent_spark.simulation.imperfections import Deliveries, deliver
from intent_spark.simulation.population import Demography, Users, draw_users, users_table
from intent_spark.simulation.shop_calendar import ShopCalendar

_USERS_STREAM, _ITEMS_STREAM = 0, 1
_RESEND_DAYS = 3

TRUTH_SCHEMA = pa.schema(
    {
        "user_id": pa.string(),
        "as_of": pa.date32(),
        "horizon_days": pa.int32(),
        "p_state": pa.float64(),
        "p_filter": pa.float64(),
    }
)


@dataclass(frozen=True)
class ShopPlan:
    """All arguments of a simulation; with a chunk's number it decides every event of the chunk."""

    config: SimulationConfig
    users: int
    days: int
    start_date: date
    seed: int
    file_format: FileFormat

    @property
    def chunks(self) -> int:
        """Chunks of people, then one chunk for each bot."""
        return self.people_chunks + self.config.imperfections.bots

    @property
    def people_chunks(self) -> int:
        """How many chunks hold people."""
        return -(-self.users // self.config.chunk_users)

    @property
    def as_of_days(self) -> list[int]:
        """The simulated days for which the truth is told; the last is the day after the simulation."""
        truth = self.config.truth
        return list(range(truth.first_day, self.days + 1, truth.every_days))

    def numbers(self, chunk: int) -> Ints:
        """The running numbers of the chunk's users."""
        if chunk >= self.people_chunks:
            return np.array([self.users + chunk - self.people_chunks])
        size = self.config.chunk_users
        return np.arange(chunk * size, min((chunk + 1) * size, self.users))

    def is_bot(self, chunk: int) -> bool:
        """Whether the chunk's user is a bot."""
        return chunk >= self.people_chunks

    def stream(self, kind: int, chunk: int = 0) -> np.random.Generator:
        """The random stream of a chunk, which no other chunk shares or shifts."""
        return np.random.default_rng(np.random.SeedSequence((self.seed, kind, chunk)))


@dataclass(frozen=True)
class Chunk:
    """What one chunk of users did, how the log tells it, and the truth about it."""

    number: int
    users: Users
    behaviour: Behaviour
    events: Events
    deliveries: Deliveries
    truth: Truth


@dataclass(frozen=True)
class Shop:
    """A plan with all that its chunks have in common, computed once per process."""

    plan: ShopPlan

    @cached_property
    def model(self) -> HiddenModel:
        """The hidden Markov model."""
        return HiddenModel.from_config(self.plan.config)

    @cached_property
    def demography(self) -> Demography:
        """The combinations of demographics."""
        return Demography.from_config(self.plan.config)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items on sale."""
        return Catalogue.draw(self.plan.config.catalogue, self.plan.stream(_ITEMS_STREAM))

    @cached_property
    def calendar(self) -> ShopCalendar:
        """The simulated days, and as many beyond as deliveries and skewed clocks reach."""
        faults = self.plan.config.imperfections
        beyond = faults.late_days_max + faults.skew_days_max + _RESEND_DAYS
        return ShopCalendar.of(self.plan.config.time_zone, self.plan.start_date, self.plan.days, beyond)

    @cached_property
    def weekdays(self) -> Ints:
        """Week day of each simulated day."""
        return np.array([self.calendar.weekday(day) for day in range(self.plan.days)])

    @cached_property
    def encoder(self) -> EventEncoder:
        """The encoder of event rows."""
        return EventEncoder(self.catalogue, self.calendar, self.plan.config.currency)

    def chunk(self, number: int) -> Chunk:
        """Make one chunk."""
        plan, rng = self.plan, self.plan.stream(_USERS_STREAM, number)
        users = draw_users(rng, plan.config, self.demography, plan.numbers(number), plan.days, plan.seed)
        behaviour = self._behaviour(rng, users, number)
        shares = self.model.bands[users.traits]
        events = draw_events(rng, plan.config, self.catalogue, self.calendar, behaviour.counts, shares)
        deliveries = deliver(rng, plan.config.imperfections, events.time, plan.file_format)
        truth = self._truth(users, behaviour, events, number)
        return Chunk(number, users, behaviour, events, deliveries, truth)

    def rows(self, chunk: Chunk) -> pa.Table:
        """The chunk's delivered rows in the plan's format: columns, or lines of text."""
        table = self.encoder.table(chunk.number, chunk.users.ids, chunk.events, chunk.deliveries)
        if self.plan.file_format == "parquet":
            return table
        return self.encoder.lines(table, chunk.deliveries, self.plan.file_format)

    def users_table(self, chunk: Chunk) -> pa.Table:
        """The chunk's users as the shop knows them."""
        return users_table(chunk.users, self.demography, self.plan.start_date)

    def truth_table(self, chunk: Chunk) -> pa.Table:
        """The chunk's truth, one row a user and as_of date."""
        truth = chunk.truth
        as_of = (truth.as_of + self.calendar.start_day).astype(np.int32)
        horizon = np.full(as_of.size, self.plan.config.truth.horizon_days, dtype=np.int32)
        return pa.table(
            {
                "user_id": chunk.users.ids.take(pa.array(truth.user)),
                "as_of": pa.array(as_of).cast(pa.date32()),
                "horizon_days": horizon,
                "p_state": truth.p_state,
                "p_filter": truth.p_filter,
            },
            schema=TRUTH_SCHEMA,
        )

    def _behaviour(self, rng: np.random.Generator, users: Users, number: int) -> Behaviour:
        if not self.plan.is_bot(number):
            return draw_behaviour(rng, self.model, users, self.weekdays)
        views = self.model.mean_daily_views(self.demography.trait_shares())
        return draw_bots(rng, users, self.plan.days, views * self.plan.config.imperfections.bot_factor)

    def _truth(self, users: Users, behaviour: Behaviour, events: Events, number: int) -> Truth:
        plan, horizon = self.plan, self.plan.config.truth.horizon_days
        if plan.is_bot(number):
            return zero_probabilities(users, plan.days, plan.as_of_days, horizon)
        bands = band_counts(events.user, events.day, events.band, (users.traits.size, plan.days, 3))
        return true_probabilities(self.model, users, behaviour, bands, self.weekdays, plan.as_of_days, horizon)
