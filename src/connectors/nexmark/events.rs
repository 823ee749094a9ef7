//! Events: who they are about and what is random in them.
//!
//! # Semantics
//! `below(n, k, m) = (scramble((64 n + k + 1) * GAMMA + seed) >> 33) mod m` is choice number `k` of
//! event `n`. Ids of persons and auctions count up from 1000. Bids and auctions prefer the "hot"
//! auction, bidder and seller, which change every hundred ids; the others are among the newest
//! 100 auctions and 1,000 persons, or up to 10 that are to come. Prices are spread evenly over
//! the orders of magnitude from 1.00 to 1,000,000.00, in cents.

use std::ops::Range;

use crate::connectors::splitmix::{GAMMA, scramble};

/// Events after which the kinds repeat.
const PERIOD: u64 = 50;
/// Auctions among them; one more is a person.
const AUCTIONS: u64 = 3;
/// The first id of a person or auction.
const FIRST_ID: u64 = 1_000;
/// Ids that share a hot one.
const HOT: u64 = 100;
/// Auctions open at a time, about.
const IN_FLIGHT: u64 = 100;
/// Persons that are active at a time.
const ACTIVE: u64 = 1_000;
/// Ids that are spoken of before they are there.
const LEAD: u64 = 10;
/// Event time of event 0: 2015-07-15 00:00:00 UTC, in milliseconds.
const START: u64 = 1_436_918_400_000;
/// Letters of which words are cut.
const LETTERS: u64 = 1 << 20;
/// Channels besides the hot ones.
const CHANNELS: u64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Somebody signs up.
    Person,
    /// Something is offered.
    Auction,
    /// Somebody bids.
    Bid,
}

impl Kind {
    /// Returns the kind of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Kind::Person, Kind::Auction, Kind::Bid]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name))
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Person => "person",
            Kind::Auction => "auction",
            Kind::Bid => "bid",
        }
    }

    /// The places of its events in the period.
    fn places(self) -> Range<u64> {
        match self {
            Kind::Person => 0..1,
            Kind::Auction => 1..1 + AUCTIONS,
            Kind::Bid => 1 + AUCTIONS..PERIOD,
        }
    }

    /// Returns the numbers of its events among those.
    pub fn among(self, numbers: Range<u64>) -> Vec<u64> {
        let places = self.places();
        numbers.filter(|n| places.contains(&(n % PERIOD))).collect()
    }

    /// Returns how many events have at most so many of its kind, wherever they begin.
    pub fn events_with(self, rows: usize) -> usize {
        let places = self.places();
        let share = usize::try_from(places.end - places.start).unwrap_or(usize::MAX);
        (rows / share).saturating_mul(PERIOD as usize).max(rows)
    }
}

/// All events of a seed.
pub struct Events {
    seed: u64,
    per_second: u64,
    /// Cents, for every 1024th of the orders of magnitude.
    prices: Vec<u64>,
    letters: String,
    /// Name and URL of every channel.
    channels: Vec<(String, String)>,
}

impl Events {
    /// Makes what events share.
    pub fn new(seed: u64, per_second: u32) -> Self {
        let mut events = Self {
            seed,
            per_second: per_second.into(),
            prices: (0..=1024).map(price).collect(),
            letters: String::new(),
            channels: Vec::new(),
        };
        let letter = |n| char::from(b"abcdefghijklmnopqrstuvwxyz"[events.choice(n, 62, 26)]);
        events.letters = (0..LETTERS).map(letter).collect();
        let channels = (0..CHANNELS).map(|c| (format!("channel-{c}"), events.url(c, true)));
        let hot = (CHANNELS..).zip(HOT_CHANNELS).map(|(c, n)| (n.to_owned(), events.url(c, false)));
        events.channels = channels.chain(hot).collect();
        events
    }

    fn mix(&self, n: u64, k: u64) -> u64 {
        let counter = n.wrapping_mul(64).wrapping_add(k + 1);
        scramble(counter.wrapping_mul(GAMMA).wrapping_add(self.seed))
    }

    /// Returns choice `k` of event `n`, a number below `count`.
    pub fn below(&self, n: u64, k: u64, count: u64) -> u64 {
        (self.mix(n, k) >> 33) % count
    }

    /// Returns an index of a list of `count`.
    pub fn choice(&self, n: u64, k: u64, count: usize) -> usize {
        usize::try_from(self.below(n, k, count as u64)).expect("less than a length")
    }

    /// Returns a price in cents, by choice `k`.
    pub fn price(&self, n: u64, k: u64) -> u64 {
        let draw = self.mix(n, k);
        let step = usize::try_from(draw >> 54).expect("ten bits");
        let (low, high) = (self.prices[step], self.prices[step + 1]);
        low + (((high - low) * ((draw >> 38) & 0xffff)) >> 16)
    }

    /// Returns a word of at least `least` letters, by choices `k` and `k + 1`; there are `spread`
    /// lengths.
    pub fn word(&self, n: u64, k: u64, [least, spread]: [u64; 2]) -> &str {
        let start = self.choice(n, k, (LETTERS - 1024) as usize);
        let length = least + self.below(n, k + 1, spread);
        &self.letters[start..start + length as usize]
    }

    fn url(&self, channel: u64, numbered: bool) -> String {
        let part = |k| self.word(channel, k, [3, 3]);
        let [a, b, c] = [40, 42, 44].map(part);
        let url = format!("https://www.nexmark.com/{a}/{b}/{c}/item.htm?query=1");
        match numbered && self.below(channel, 46, 10) > 0 {
            true => format!("{url}&channel_id={}", self.below(channel, 47, 1 << 30)),
            false => url,
        }
    }

    /// Returns name and URL of a bid's channel.
    pub fn channel(&self, n: u64) -> &(String, String) {
        let channel = match self.below(n, 6, 2) {
            0 => self.below(n, 8, CHANNELS),
            _ => CHANNELS + self.below(n, 7, HOT_CHANNELS.len() as u64),
        };
        &self.channels[usize::try_from(channel).expect("the number of a channel")]
    }

    /// Returns the time of an event, in milliseconds.
    pub fn time(&self, n: u64) -> u64 {
        START + n * 1000 / self.per_second
    }

    /// Returns when an auction is over, in milliseconds.
    pub fn expires(&self, n: u64) -> u64 {
        let horizon = IN_FLIGHT * PERIOD / AUCTIONS * 1000 / self.per_second;
        self.time(n) + 1 + self.below(n, 10, (horizon * 2).max(1))
    }

    /// Returns the id of the last person at an event.
    pub fn person(n: u64) -> u64 {
        FIRST_ID + n / PERIOD
    }

    /// Returns the id of the last auction at an event that is no person.
    pub fn auction(n: u64) -> u64 {
        FIRST_ID + n / PERIOD * AUCTIONS + (n % PERIOD - 1).min(AUCTIONS - 1)
    }

    /// Returns who offers in an auction.
    pub fn seller(&self, n: u64) -> u64 {
        match self.below(n, 1, 4) {
            0 => self.somebody(n, 2),
            _ => hot(Self::person(n)),
        }
    }

    /// Returns who bids.
    pub fn bidder(&self, n: u64) -> u64 {
        match self.below(n, 3, 4) {
            0 => self.somebody(n, 4),
            _ => hot(Self::person(n)) + 1,
        }
    }

    /// Returns the auction in which a bid is made.
    pub fn bid_for(&self, n: u64) -> u64 {
        let last = Self::auction(n);
        if self.below(n, 1, 2) > 0 {
            return hot(last);
        }
        let first = last.saturating_sub(IN_FLIGHT).max(FIRST_ID);
        first + self.below(n, 2, last - first + 1 + LEAD)
    }

    /// One of the active persons, or one to come.
    fn somebody(&self, n: u64, k: u64) -> u64 {
        let next = Self::person(n) + 1;
        let active = (next - FIRST_ID).min(ACTIVE);
        next - active + self.below(n, k, active + LEAD)
    }
}

/// The hot id among those that share one.
fn hot(id: u64) -> u64 {
    FIRST_ID + (id - FIRST_ID) / HOT * HOT
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "prices are positive and below 2^27"
)]
fn price(step: u32) -> u64 {
    (10_f64.powf(f64::from(step * 6) / 1024.0) * 100.0).round_ties_even() as u64
}
