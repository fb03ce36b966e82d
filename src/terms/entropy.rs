//! The entropy −Σ m ln m of the mean mixing weights of each row, in nats: the mean over the rows of a table, as the
//! history records it, added over the tables. ∂m = −(ln m + 1)/rows.

use super::{Term, weight};
use crate::error::{Error, Result};
use crate::relaxation::Relaxation;
use crate::variant::{Spec, Variant};

/// The smallest mixing weight whose logarithm is taken; m ln m is 0 below it.
#[cfg(feature = "torch")]
const LEAST: f64 = 1e-300;

pub struct Entropy;

impl Variant for Entropy {
    fn spec(&self) -> &'static Spec {
        // A negative weight rewards entropy.
        &Spec { name: "entropy", parameters: &[const { weight(0.1, -1e6) }] }
    }
}

impl Term for Entropy {
    fn measured(&self) -> &'static str {
        "term.entropy"
    }

    fn check(&self, relaxation: &Relaxation) -> Result<()> {
        match relaxation.rule().shares() {
            true => Ok(()),
            false => Err(Error::config(format!(
                "`arch_terms` has \"entropy\", which needs mixing weights that add up to 1; with relaxation={:?} \
                 use \"zero_one\", or another relaxation",
                relaxation.name()
            ))),
        }
    }

    #[cfg(feature = "torch")]
    fn evaluate(&self, tables: &[super::View], _values: &[f64]) -> Result<super::Evaluated> {
        let (mut values, mut gradient) = (Vec::new(), Vec::new());
        for table in tables {
            let logarithm = table.m.f_clamp_min(LEAST)?.f_log()?;
            let of_rows = table.m.f_mul(&logarithm)?.f_sum_dim_intlist(-1i64, true, tch::Kind::Double)?.f_neg()?;
            values.push(super::mean_over_rows(table, &of_rows)?);
            gradient.push(logarithm.f_add_scalar(1.0)?.f_neg()?.f_mul(&super::share_of_row(table)?)?);
        }
        Ok(super::Evaluated { value: super::sum(&values)?, by: super::By::Mixing, gradient })
    }
}
