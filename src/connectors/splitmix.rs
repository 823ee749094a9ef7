//! SplitMix64: numbers that look random, each a function of a counter.
//!
//! Source: Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014).

/// The increment of the counter: 2^64 divided by the golden ratio, made odd.
pub const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Returns the output for a counter: a bijection of 64 bits.
pub fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// One step from a state: advances the counter and scrambles it.
pub fn mix(value: u64) -> u64 {
    scramble(value.wrapping_add(GAMMA))
}
