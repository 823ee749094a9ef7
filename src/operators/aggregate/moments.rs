//! Variance, standard deviation, covariance, correlation and linear regression.
//!
//! # Semantics
//! All come from five sums over the pairs without NULL: of x, y, xx, xy and yy. The sums are exact
//! ([`super::exact`]), so are their combinations `n Σxy - Σx Σy`, which are rounded once; what
//! follows is a division or two. So a result depends on the rows alone, and equal values have
//! variance 0. A result is NULL where Postgres has NULL: too few rows, or no spread to divide by.
//! A group whose squares are out of range has failed (22003). With NaN or an infinity among the
//! arguments the result is NaN.
//!
//! # Cost
//! Per row three or ten exact additions; per touched group a few dozen operations.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use super::exact::{ExactSums, scaled_difference, two_product};
use super::fold::{Arguments, Changes, Failure, Fold, Rows};
use crate::operators::Result;
use crate::storage::Visit;

/// What is computed from the sums. Regressions take (y, x), as in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Statistic {
    Variance { sample: bool },
    Deviation { sample: bool },
    Covariance { sample: bool },
    Correlation,
    Slope,
    Intercept,
    Determination,
    Pairs,
    MeanX,
    MeanY,
    Sxx,
    Sxy,
    Syy,
}

/// Second moments of one or two arguments per group.
pub(super) struct Moments {
    statistic: Statistic,
    /// Number of pairs without NULL.
    counts: Vec<i64>,
    /// Of x, xx, y, yy, xy; the last three for two arguments only.
    sums: Vec<ExactSums>,
    output: DataType,
    recorded: Vec<Option<f64>>,
}

const X: usize = 0;
const XX: usize = 1;
const Y: usize = 2;
const YY: usize = 3;
const XY: usize = 4;

impl Moments {
    /// The state for a function of that name, if it is one of these.
    pub(super) fn named(name: &str, output: &DataType) -> Option<Self> {
        use Statistic::{
            Correlation, Covariance, Determination, Deviation, Intercept, MeanX, MeanY, Pairs,
            Slope, Sxx, Sxy, Syy, Variance,
        };
        let (statistic, arguments) = match name {
            "var" => (Variance { sample: true }, 1),
            "var_pop" => (Variance { sample: false }, 1),
            "stddev" => (Deviation { sample: true }, 1),
            "stddev_pop" => (Deviation { sample: false }, 1),
            "covar_samp" => (Covariance { sample: true }, 2),
            "covar_pop" => (Covariance { sample: false }, 2),
            "corr" => (Correlation, 2),
            "regr_slope" => (Slope, 2),
            "regr_intercept" => (Intercept, 2),
            "regr_r2" => (Determination, 2),
            "regr_count" => (Pairs, 2),
            "regr_avgx" => (MeanX, 2),
            "regr_avgy" => (MeanY, 2),
            "regr_sxx" => (Sxx, 2),
            "regr_sxy" => (Sxy, 2),
            "regr_syy" => (Syy, 2),
            _ => return None,
        };
        let sums = (0..if arguments == 1 { 2 } else { 5 }).map(|_| ExactSums::default()).collect();
        let (output, counts, recorded) = (output.clone(), Vec::new(), Vec::new());
        Some(Self { statistic, counts, sums, output, recorded })
    }

    /// The value of a group; `Err` if it is out of range.
    #[expect(clippy::cast_precision_loss, reason = "results are floats")]
    fn value(&self, group: usize) -> std::result::Result<Option<f64>, ()> {
        let count = self.counts[group];
        let n = count as f64;
        let sum = |of: usize| self.sums[of].sum(group);
        // n² times the (co)variance, if there is one.
        let spread = |a: usize, b: usize, ab: usize| -> f64 {
            let expansion = |of: usize| self.sums[of].expansion(group);
            match (expansion(ab), expansion(a), expansion(b)) {
                (Some(ab), Some(a), Some(b)) => scaled_difference(n, &ab, &a, &b),
                _ => f64::NAN,
            }
        };
        let (xx, yy) = (|| spread(X, X, XX), || spread(Y, Y, YY));
        let xy = || spread(X, Y, XY);
        let divisor = |sample: bool| if sample { n * (count - 1) as f64 } else { n * n };
        let enough = |sample: bool| count > i64::from(sample);
        let value = match self.statistic {
            Statistic::Variance { sample } => enough(sample).then(|| xx() / divisor(sample)),
            Statistic::Deviation { sample } => {
                enough(sample).then(|| (xx() / divisor(sample)).sqrt())
            }
            Statistic::Covariance { sample } => enough(sample).then(|| xy() / divisor(sample)),
            Statistic::Pairs => Some(n),
            _ if count == 0 => None,
            Statistic::Correlation => {
                let (xx, yy) = (xx(), yy());
                let spread = xx != 0.0 && yy != 0.0;
                spread.then(|| (xy() / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0))
            }
            Statistic::Slope => Some(xx()).filter(|xx| *xx != 0.0).map(|xx| xy() / xx),
            Statistic::Intercept => {
                Some(xx()).filter(|xx| *xx != 0.0).map(|xx| (sum(Y) - sum(X) * (xy() / xx)) / n)
            }
            Statistic::Determination => match (xx(), yy()) {
                (0.0, _) => None,
                (_, 0.0) => Some(1.0),
                (xx, yy) => Some((xy() / xx) * (xy() / yy)),
            },
            Statistic::MeanX => Some(sum(X) / n),
            Statistic::MeanY => Some(sum(Y) / n),
            Statistic::Sxx => Some(xx() / n),
            Statistic::Sxy => Some(xy() / n),
            Statistic::Syy => Some(yy() / n),
        };
        let firsts = if self.sums.len() == 2 { &[X][..] } else { &[X, Y] };
        let finite = firsts.iter().all(|of| sum(*of).is_finite());
        match value {
            Some(value) if !value.is_finite() && finite => Err(()),
            value => Ok(value),
        }
    }
}

impl Fold for Moments {
    fn grow(&mut self, bound: usize) {
        self.counts.resize(bound, 0);
        self.sums.iter_mut().for_each(|sums| sums.grow(bound));
    }

    fn prepare(&self, values: Vec<ArrayRef>) -> Result<Arguments> {
        let floats = values.iter().map(|value| cast(value, &DataType::Float64));
        let values = floats.collect::<std::result::Result<_, _>>()?;
        Ok(Arguments { values, encoded: None })
    }

    fn apply(&mut self, changes: &Changes<'_>, rows: &Rows<'_>) -> Result<()> {
        let counts = &mut self.counts;
        changes.each(rows, |group, _, weight| counts[group] += weight);
        let columns = changes.values().iter().map(|value| value.as_primitive::<Float64Type>());
        let columns: Vec<_> = columns.map(|column| column.values()).collect();
        // Functions of two arguments take (y, x).
        let x = columns[columns.len() - 1];
        let (mut alone, mut products) = (vec![(X, x)], vec![(XX, x, x)]);
        if let [y, x] = columns[..] {
            alone.push((Y, y));
            products.extend([(YY, y, y), (XY, x, y)]);
        }
        for (sum, values) in alone {
            let sums = &mut self.sums[sum];
            changes.each(rows, |group, row, weight| sums.add(group, values[row], weight));
        }
        for (sum, left, right) in products {
            let sums = &mut self.sums[sum];
            changes.each(rows, |group, row, weight| {
                let (product, error) = two_product(left[row], right[row]);
                sums.add(group, product, weight);
                if error != 0.0 && product.is_finite() {
                    sums.add(group, error, weight);
                }
            });
        }
        Ok(())
    }

    fn record(&mut self, groups: &[u32], failed: &mut [Option<Failure>]) -> Result<()> {
        for (group, failed) in groups.iter().zip(failed) {
            let value = self.value(*group as usize);
            if value.is_err() {
                *failed = Some(Failure::OutOfRange);
            }
            self.recorded.push(value.ok().flatten());
        }
        Ok(())
    }

    fn recorded(&mut self) -> Result<ArrayRef> {
        let recorded: ArrayRef = Arc::new(Float64Array::from(std::mem::take(&mut self.recorded)));
        Ok(cast(&recorded, &self.output)?)
    }

    fn clear(&mut self, group: u32) {
        self.counts[group as usize] = 0;
        self.sums.iter_mut().for_each(|sums| sums.clear(group as usize));
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        visit(&mut self.counts);
        self.sums.iter_mut().for_each(|sums| visit(sums));
    }
}
