//! Exact sums of floating-point numbers, which can take a number out again.
//!
//! # Semantics
//! The sum of a group is kept as an expansion: floats of falling magnitude whose exact sum is the
//! sum of everything added. Reading it rounds once. So the result depends neither on the order nor
//! on the batches of additions, and what is retracted leaves no trace. NaN and infinities are
//! counted.
//!
//! # State
//! Two floats per group, which is enough unless magnitudes differ by more than 2^53; longer
//! expansions, sums of numbers beyond 2^900 and counts of NaN and infinities stand in maps,
//! sparsely.
//!
//! # Why
//! A plain float, even a pair, forgets what is far smaller than the sum: `1e300 + 1 - 1e300` would
//! be 0.
//!
//! # References
//! Shewchuk, Adaptive precision floating-point arithmetic (1997); Python's `math.fsum`.

use std::collections::BTreeMap;

use crate::storage::{Misfit, StateReader, StateWriter, Store};

/// Magnitude from which numbers are summed scaled down, so that no expansion overflows.
const HUGE: f64 = f64::from_bits((1023 + 900) << 52);
/// 2^-200, by which huge numbers are scaled.
const SCALE: f64 = f64::from_bits((1023 - 200) << 52);

/// Exact sums per group.
#[derive(Debug, Default)]
pub(super) struct ExactSums {
    /// Expansions of up to two floats, the greater first.
    short: Vec<(f64, f64)>,
    /// Longer expansions, least first; the group's pair is then not used.
    long: BTreeMap<usize, Vec<f64>>,
    /// Expansions of numbers beyond `HUGE`, scaled.
    huge: BTreeMap<usize, Vec<f64>>,
    specials: BTreeMap<usize, Specials>,
}

/// How many NaN and infinities a sum has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Specials {
    nan: i64,
    plus: i64,
    minus: i64,
}

impl Store for ExactSums {
    /// Expansions beyond two numbers are few.
    fn memory(&self) -> usize {
        let long = self.long.values().chain(self.huge.values()).map(|of| 64 + of.memory());
        self.short.memory() + long.sum::<usize>()
    }

    fn save(&self, to: &mut StateWriter) -> Result<(), Misfit> {
        self.short.save(to)?;
        for sparse in [&self.long, &self.huge] {
            let parts = |(group, parts): (&usize, &Vec<f64>)| {
                parts.iter().map(|part| (*group, *part)).collect::<Vec<_>>()
            };
            to.put_numbers(&sparse.iter().flat_map(parts).collect::<Vec<(usize, f64)>>())?;
        }
        let specials =
            self.specials.iter().map(|(group, of)| (*group, [of.nan, of.plus, of.minus]));
        to.put_numbers(&specials.collect::<Vec<_>>())
    }

    fn load(&mut self, from: &mut StateReader) -> Result<(), Misfit> {
        self.short.load(from)?;
        for sparse in [&mut self.long, &mut self.huge] {
            sparse.clear();
            for (group, part) in from.take_numbers::<(usize, f64)>()? {
                sparse.entry(group).or_default().push(part);
            }
        }
        let specials = from.take_numbers::<(usize, [i64; 3])>()?.into_iter();
        let specials =
            specials.map(|(group, [nan, plus, minus])| (group, Specials { nan, plus, minus }));
        self.specials = specials.collect();
        Ok(())
    }
}

impl ExactSums {
    pub(super) fn grow(&mut self, bound: usize) {
        self.short.resize(bound, (0.0, 0.0));
    }

    /// Adds `weight` times `value`.
    #[inline]
    pub(super) fn add(&mut self, group: usize, value: f64, weight: i64) {
        // Invariant: weights are multiplicities, far below 2^53, so that this is exact.
        #[expect(clippy::cast_precision_loss, reason = "multiplicities are below 2^53")]
        let factor = weight as f64;
        let product = value * factor;
        if product.abs() < HUGE {
            self.add_part(group, product);
            if weight != 1 && weight != -1 {
                self.add_part(group, value.mul_add(factor, -product));
            }
        } else {
            self.add_rare(group, value, factor, weight);
        }
    }

    /// Returns the sum of a group, rounded once.
    pub(super) fn sum(&self, group: usize) -> f64 {
        if let Some(Specials { nan, plus, minus }) = self.specials.get(&group) {
            if *nan != 0 || (*plus != 0 && *minus != 0) {
                return f64::NAN;
            }
            return if *plus != 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        }
        let short = [self.short[group].1, self.short[group].0];
        let parts = self.long.get(&group).map_or(&short[..], Vec::as_slice);
        match self.huge.get(&group) {
            None => rounded(parts),
            Some(huge) => {
                let mut all = huge.clone();
                parts.iter().for_each(|part| grow_expansion(&mut all, part * SCALE));
                rounded(&all) / SCALE
            }
        }
    }

    /// Returns the floats whose exact sum is the group's, least first; none if it has NaN, an
    /// infinity or a number beyond 2^900.
    pub(super) fn expansion(&self, group: usize) -> Option<Vec<f64>> {
        if self.specials.contains_key(&group) || self.huge.contains_key(&group) {
            return None;
        }
        let short = [self.short[group].1, self.short[group].0];
        Some(self.long.get(&group).map_or(&short[..], Vec::as_slice).to_vec())
    }

    pub(super) fn clear(&mut self, group: usize) {
        self.short[group] = (0.0, 0.0);
        self.long.remove(&group);
        self.huge.remove(&group);
        self.specials.remove(&group);
    }

    #[inline]
    fn add_part(&mut self, group: usize, value: f64) {
        if !self.long.is_empty()
            && let Some(parts) = self.long.get_mut(&group)
        {
            grow_expansion(parts, value);
            if parts.len() <= 2 {
                let parts = self.long.remove(&group).unwrap_or_default();
                let part = |i: usize| parts.get(i).copied().unwrap_or(0.0);
                self.short[group] =
                    if parts.len() == 2 { (part(1), part(0)) } else { (part(0), 0.0) };
            }
            return;
        }
        let (high, low) = self.short[group];
        let (sum, error) = two_sum(value, low);
        let (top, middle) = two_sum(sum, high);
        if error == 0.0 {
            self.short[group] = (top, middle);
        } else if middle == 0.0 {
            self.short[group] = (top, error);
        } else {
            self.long.insert(group, vec![error, middle, top]);
        }
    }

    #[cold]
    fn add_rare(&mut self, group: usize, value: f64, factor: f64, weight: i64) {
        if value.is_finite() {
            let scaled = value * SCALE;
            let product = scaled * factor;
            let parts = self.huge.entry(group).or_default();
            grow_expansion(parts, product);
            grow_expansion(parts, scaled.mul_add(factor, -product));
            if parts.is_empty() {
                self.huge.remove(&group);
            }
            return;
        }
        let specials = self.specials.entry(group).or_default();
        match value {
            f64::INFINITY => specials.plus += weight,
            f64::NEG_INFINITY => specials.minus += weight,
            _ => specials.nan += weight,
        }
        if *specials == Specials::default() {
            self.specials.remove(&group);
        }
    }
}

/// Returns the exact product of two numbers as a rounded one and its error.
#[inline]
pub(super) fn two_product(a: f64, b: f64) -> (f64, f64) {
    let product = a * b;
    (product, a.mul_add(b, -product))
}

/// Returns `n * a - b * c` of three expansions, rounded once.
pub(super) fn scaled_difference(n: f64, a: &[f64], b: &[f64], c: &[f64]) -> f64 {
    let mut parts = Vec::new();
    let mut add = |x: f64, y: f64| {
        let (product, error) = two_product(x, y);
        grow_expansion(&mut parts, error);
        grow_expansion(&mut parts, product);
    };
    a.iter().for_each(|part| add(n, *part));
    b.iter().for_each(|b| c.iter().for_each(|c| add(-b, *c)));
    rounded(&parts)
}

/// Returns the rounded sum and the exact error of it.
#[inline]
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let rest = sum - a;
    (sum, (a - (sum - rest)) + (b - rest))
}

/// Adds a number to an expansion, least part first, without zeros.
fn grow_expansion(parts: &mut Vec<f64>, value: f64) {
    let (mut sum, mut kept) = (value, 0);
    for i in 0..parts.len() {
        let (high, low) = two_sum(sum, parts[i]);
        if low != 0.0 {
            parts[kept] = low;
            kept += 1;
        }
        sum = high;
    }
    parts.truncate(kept);
    if sum != 0.0 {
        parts.push(sum);
    }
}

/// Returns the sum of an expansion, least part first, rounded half to even.
fn rounded(parts: &[f64]) -> f64 {
    let Some((last, mut rest)) = parts.split_last() else { return 0.0 };
    let (mut high, mut low) = (*last, 0.0);
    while let Some((next, below)) = rest.split_last() {
        (high, low) = two_sum(high, *next);
        rest = below;
        if low != 0.0 {
            break;
        }
    }
    // A tie was rounded without what is below it, which may have the same sign as the error.
    if let Some(below) = rest.iter().rev().find(|part| **part != 0.0)
        && (low < 0.0) == (*below < 0.0)
        && low != 0.0
    {
        let (twice, nudged) = (low * 2.0, high + low * 2.0);
        if nudged - high == twice {
            high = nudged;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum_of(values: &[(f64, i64)]) -> f64 {
        let mut sums = ExactSums::default();
        sums.grow(1);
        values.iter().for_each(|(value, weight)| sums.add(0, *value, *weight));
        sums.sum(0)
    }

    #[test]
    fn small_numbers_survive_large_ones() {
        assert_eq!(sum_of(&[(1e300, 1), (1.0, 1), (1e300, -1)]), 1.0);
        assert_eq!(sum_of(&[(0.1, 10)]), 1.0);
        assert_eq!(sum_of(&[(f64::MAX, 2), (3.0, 1), (f64::MAX, -2)]), 3.0);
        assert_eq!(sum_of(&[(f64::MAX, 1), (f64::MAX, 1)]), f64::INFINITY);
    }

    #[test]
    fn retracted_infinities_leave_no_trace() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(sum_of(&[(1.5, 1), (inf, 1), (nan, 1), (nan, -1), (inf, -1)]), 1.5);
        assert_eq!(sum_of(&[(1.5, 1), (inf, 2)]), inf);
        assert!(sum_of(&[(-inf, 1), (inf, 2)]).is_nan());
    }

    fn numbers() -> impl Strategy<Value = Vec<(f64, i64)>> {
        let number = (-1_000_000i64..1_000_000, -30i32..30);
        let value = number.prop_map(|(m, e)| m as f64 * 2f64.powi(e * 20));
        proptest::collection::vec((value, prop_oneof![Just(1i64), Just(-1), Just(3)]), 0..40)
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_retraction_is_exact(
            values in numbers(), others in numbers(), at in any::<prop::sample::Index>(),
        ) {
            let mut rotated = values.clone();
            if !values.is_empty() {
                rotated.rotate_left(at.index(values.len()));
            }
            prop_assert_eq!(sum_of(&values).to_bits(), sum_of(&rotated).to_bits());
            let mut noisy = values.clone();
            noisy.extend(&others);
            noisy.extend(others.iter().map(|(value, weight)| (*value, -weight)));
            prop_assert_eq!(sum_of(&values), sum_of(&noisy));
        }

        #[test]
        fn a_loaded_sum_goes_on(values in numbers(), others in numbers()) {
            let mut sums = ExactSums::default();
            sums.grow(1);
            let add = |sums: &mut ExactSums, values: &[(f64, i64)]| {
                values.iter().for_each(|(value, weight)| sums.add(0, *value, *weight));
            };
            add(&mut sums, &values);
            let (mut saved, mut loaded) = (StateWriter::default(), ExactSums::default());
            sums.save(&mut saved).unwrap();
            loaded.load(&mut StateReader::of(saved)).unwrap();
            add(&mut sums, &others);
            add(&mut loaded, &others);
            prop_assert_eq!(loaded.sum(0).to_bits(), sums.sum(0).to_bits());
        }
    }
}
